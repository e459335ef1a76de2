"""Calls sys.exit, as a library that gives up does."""

import sys

PROBE = {
    "name": "raises_system_exit",
    "title": "Calls sys.exit, as a library that gives up does.",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    sys.exit("no kernel image is available")
    yield {}
