"""Never answers and ignores polite requests to end."""

import signal
import time

PROBE = {
    "name": "hangs_deaf",
    "title": "Never answers and ignores polite requests to end.",
    "needs": [],
    "modes": ["run"],
    "seconds": 1,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
    yield {}
