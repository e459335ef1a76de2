"""Its children allocate, each below the bound."""

import os
import time

PROBE = {
    "name": "children_eat_memory",
    "title": "Its children allocate, each below the bound.",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 400,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    for _ in range(4):
        if os.fork() == 0:
            eaten = bytearray(b"x" * (150 << 20))
            time.sleep(600)
    time.sleep(600)
    yield {}
