"""Answers, but leaves a child that holds its pipes open."""

import os
import time

PROBE = {
    "name": "leaves_a_child",
    "title": "Answers, but leaves a child that holds its pipes open.",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    if os.fork() == 0:
        time.sleep(600)
    yield {"variant": "only", "outcome": "passed", "ran": True}
