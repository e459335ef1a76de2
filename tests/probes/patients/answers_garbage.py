"""Writes an answer that is not JSON."""

import os

PROBE = {
    "name": "answers_garbage",
    "title": "Writes an answer that is not JSON.",
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
        file.write(b"\x7fELF\x00\xff garbage")
    os._exit(0)
    yield {}
