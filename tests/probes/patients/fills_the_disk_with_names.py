"""Fills its control folder with empty files."""

import os

PROBE = {
    "name": "fills_the_disk_with_names",
    "title": "Fills its control folder with empty files.",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    for number in range(10000000):
        open(os.path.join(os.environ["TMPDIR"], str(number)), "w").close()
    yield {}
