"""Writes a number beyond all."""

import os

PROBE = {
    "name": "answers_infinity",
    "title": "Writes a number beyond all.",
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
        file.write(b'{"outcomes": [{"outcome": "passed", "numbers": {"a": 1e999}}]}')
    os._exit(0)
    yield {}
