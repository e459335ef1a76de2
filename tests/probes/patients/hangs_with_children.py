"""Hangs together with children that are deaf too."""

import os
import signal
import time

PROBE = {
    "name": "hangs_with_children",
    "title": "Hangs together with children that are deaf too.",
    "needs": [],
    "modes": ["run"],
    "seconds": 1,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    for _ in range(3):
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
    time.sleep(600)
    yield {}
