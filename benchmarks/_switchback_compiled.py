"""Compiles contenders beforehand, in processes side by side, so that timing finds them compiled.

torch.compile keeps what it made in a folder that all processes share. A process that measures then
takes each from there, in a fraction of the seconds that compiling takes. Nothing is timed
meanwhile, and what a worker could not compile is compiled, or fails, when its turn comes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SCRIPT = Path(__file__).with_name("switchback.py")
ENVIRON = {"TORCHINDUCTOR_COMPILE_THREADS": "1", "TORCHINDUCTOR_FX_GRAPH_CACHE": "1"}
"""A process that compiles alone needs no pool of its own; all must be asked alike to share."""
GRACE = 5.0


def beforehand(words: Sequence[str], workers: int, seconds: float) -> str:
    """Let workers compile for at most so many seconds; say how that went.

    ``words`` are the options that choose the cells; worker i of n takes every n-th of them.
    """
    if workers < 1 or seconds <= 0:
        return "nothing is compiled beforehand"
    begun = time.monotonic()
    started = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), *words, "--only-compile", f"{number}/{workers}",
             "--budget", f"{seconds:g}"],
            env={**os.environ, **ENVIRON},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(workers)
    ]  # fmt: skip
    until = begun + seconds + GRACE
    left = [_ended(one, until) for one in started]
    bad = [why for why in left if why]
    words_ = f"; {len(bad)} of {workers} did not end well: {bad[0]}" if bad else ""
    return f"compiled beforehand by {workers} processes in {time.monotonic() - begun:.1f} s{words_}"


def _ended(one: subprocess.Popen[str], until: float) -> str:
    """Wait for a worker; stop it where it takes too long. Say what was wrong, if anything."""
    try:
        _, errors = one.communicate(timeout=max(0.1, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        one.kill()
        one.communicate()
        return "out of time"
    last = errors.strip().rpartition("\n")[2][:200]
    return f"exit {one.returncode}: {last}" if one.returncode else ""


def share(items: Sequence[Any], word: str) -> list[Any]:
    """Return the part of a worker ``i/n`` of the items: every n-th, so that all begin with much."""
    number, _, count = word.partition("/")
    return list(items[int(number) :: int(count)])


def compile_all(items: Sequence[Any], compile_one: Callable[[Any], None], end: float) -> int:
    """Compile items until the time is over; return how many. A failure will show when it counts."""
    done = 0
    for item in items:
        if time.monotonic() > end:
            break
        try:
            compile_one(item)
            done += 1
        except Exception as error:  # noqa: BLE001 - told again where it is measured
            print(f"{item}: {type(error).__name__}: {error}"[:300], file=sys.stderr)
    return done
