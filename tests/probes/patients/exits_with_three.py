"""Exits with status 3 and without an answer."""

import os

PROBE = {
    "name": "exits_with_three",
    "title": "Exits with status 3 and without an answer.",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    os.write(2, b"OSError: no such device\n")
    os._exit(3)
    yield {}
