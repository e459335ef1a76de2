"""Reads address zero."""

import ctypes

PROBE = {
    "name": "segfaults",
    "title": "Reads address zero.",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    phase("calling the library")
    ctypes.string_at(0)
    yield {}
