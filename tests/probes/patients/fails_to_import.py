"""Needs a module that is not there."""

import a_module_that_nobody_has

PROBE = {
    "name": "fails_to_import",
    "title": "Needs a module that is not there.",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    yield {}
