"""Prints without end, then answers."""

import os

PROBE = {
    "name": "floods_stdout",
    "title": "Prints without end, then answers.",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    for _ in range(2000):
        os.write(1, b"\xff\x1b[31mgarbage" * 5000)
    yield {"variant": "only", "outcome": "passed", "ran": True}
