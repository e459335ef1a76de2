"""Never answers."""

import time

PROBE = {
    "name": "hangs",
    "title": "Never answers.",
    "needs": [],
    "modes": ["run"],
    "seconds": 1,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    phase("waiting for the device")
    time.sleep(600)
    yield {}
