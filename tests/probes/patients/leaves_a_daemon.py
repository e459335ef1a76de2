"""Answers, but leaves a process that left its session."""

import os
import time

PROBE = {
    "name": "leaves_a_daemon",
    "title": "Answers, but leaves a process that left its session.",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    os.wait()
    yield {"variant": "only", "outcome": "passed", "ran": True}
