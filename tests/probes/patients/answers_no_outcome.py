"""Returns no outcome at all."""

PROBE = {
    "name": "answers_no_outcome",
    "title": "Returns no outcome at all.",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    return []
