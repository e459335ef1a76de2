"""Fills its control folder."""

import os

PROBE = {
    "name": "fills_the_disk",
    "title": "Fills its control folder.",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    for number in range(100000):
        with open(os.path.join(os.environ["TMPDIR"], str(number)), "wb") as file:
            file.write(b"x" * (8 << 20))
    yield {}
