"""Nests its answer without end."""

import os

PROBE = {
    "name": "answers_deeply",
    "title": "Nests its answer without end.",
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
        file.write(b'[' * 900000)
    os._exit(0)
    yield {}
