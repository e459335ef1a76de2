"""A compiler that aborts for one SM."""

import os

PROBE = {
    "name": "aborts_for_one_sm",
    "title": "A compiler that aborts for one SM.",
    "needs": [],
    "modes": ["compile"],
    "seconds": 20,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
    "sms": ["7.0", "8.0", "9.0"],
}


def run(request):
    for sm in request["sms"]:
        if sm == "8.0":
            os.write(2, b"LLVM ERROR: Cannot select\n")
            os.abort()
        yield {"variant": "only", "outcome": "passed", "device": "sm_" + sm.replace(".", ""), "ran": False}
