"""Claims an outcome that only its parent can see."""

import os

PROBE = {
    "name": "answers_crashed",
    "title": "Claims an outcome that only its parent can see.",
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
        file.write(b'{"outcomes": [{"outcome": "crashed"}]}')
    os._exit(0)
    yield {}
