"""Needs a while before it answers."""

import time

PROBE = {
    "name": "starts_slowly",
    "title": "Needs a while before it answers.",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    phase("importing")
    time.sleep(1.5)
    yield {"variant": "only", "outcome": "passed", "ran": True}
