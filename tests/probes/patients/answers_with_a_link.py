"""Answers with a link to a file of its parent."""

import os

PROBE = {
    "name": "answers_with_a_link",
    "title": "Answers with a link to a file of its parent.",
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
    os.symlink("/etc/hostname", path)
    os._exit(0)
    yield {}
