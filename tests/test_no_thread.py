"""Where the limit of processes (ulimit -u, a container's pids.max) is reached, no thread starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REFUSED = """
import sys, threading
def start(thread):
    raise RuntimeError("can't start new thread")
threading.Thread.start = start
from qdoctor.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize("command", [["facts"], ["check", "--probe", "none"]], ids=" ".join)
def test_the_work_is_done_without(command: list[str]) -> None:
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    plain, refused = (
        subprocess.run(
            [sys.executable, *start, *command],
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        for start in (["-m", "qdoctor"], ["-c", REFUSED])
    )
    assert (refused.returncode, refused.stderr) == (plain.returncode, plain.stderr)
    assert refused.stdout == plain.stdout
