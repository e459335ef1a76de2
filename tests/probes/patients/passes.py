"""Answers as it should."""

PROBE = {
    "name": "passes",
    "title": "Answers as it should.",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    yield {**{"variant": "only", "outcome": "passed", "ran": True}, "numbers": {"max_abs_error": 0.0}}
