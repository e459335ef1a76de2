"""Makes its control folder unreadable."""

import os

PROBE = {
    "name": "locks_its_folder",
    "title": "Makes its control folder unreadable.",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    inner = os.path.join(os.environ["TMPDIR"], "inner")
    os.makedirs(os.path.join(inner, "deeper"))
    os.chmod(inner, 0)
    yield {"variant": "only", "outcome": "passed", "ran": True}
