"""Raises."""

PROBE = {
    "name": "raises",
    "title": "Raises.",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    raise ValueError("tile \x1b[31m too large")
    yield {}
