"""Writes an answer of another shape."""

import os

PROBE = {
    "name": "answers_wrong_types",
    "title": "Writes an answer of another shape.",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 512,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    folder = os.path.dirname(os.environ["TMPDIR"])
    path = os.path.join(folder, "result.json")
    with open(path, "wb") as file:
        file.write(b'{"outcomes": [{"outcome": 7}]}')
    os._exit(0)
    yield {}
