"""Reads address zero once it has answered."""

import atexit
import ctypes

PROBE = {
    "name": "segfaults_at_exit",
    "title": "Reads address zero once it has answered.",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    atexit.register(ctypes.string_at, 0)
    yield {"variant": "only", "outcome": "passed", "ran": True}
