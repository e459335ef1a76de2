"""Prints errors without end."""

import os

PROBE = {
    "name": "floods_stderr_and_hangs",
    "title": "Prints errors without end.",
    "needs": [],
    "modes": ["run"],
    "seconds": 1,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    while True:
        os.write(2, b"error " * 10000)
    yield {}
