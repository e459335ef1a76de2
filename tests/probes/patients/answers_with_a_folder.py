"""Answers with a folder."""

import os

PROBE = {
    "name": "answers_with_a_folder",
    "title": "Answers with a folder.",
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
    os.mkdir(path)
    os._exit(0)
    yield {}
