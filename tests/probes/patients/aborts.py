"""Aborts as a native library does on a failed assertion."""

import os

PROBE = {
    "name": "aborts",
    "title": "Aborts as a native library does on a failed assertion.",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    os.write(2, b"lib.cu:42: assertion `algo != nullptr' failed\n")
    os.abort()
    yield {}
