"""Reads address zero after its first variant."""

import ctypes

PROBE = {
    "name": "segfaults_half_way",
    "title": "Reads address zero after its first variant.",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 512,
    "quick": True,
    "variants": ["first", "second"],
}


def run(request):
    yield {"variant": "first", "outcome": "passed"}
    ctypes.string_at(0)
