"""Is killed from outside."""

import os
import signal

PROBE = {
    "name": "kills_itself",
    "title": "Is killed from outside.",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    os.kill(os.getpid(), signal.SIGKILL)
    yield {}
