"""Warns, and answers as it should."""

import warnings

PROBE = {
    "name": "warns",
    "title": "Warns, and answers as it should.",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    warnings.warn("no harm is done", UserWarning)
    yield {"variant": "only", "outcome": "passed", "ran": True, "numbers": {"max_abs_error": 0.0}}
