"""Let what is timed run alone, though probes run side by side.

Every probe holds a shared lock on one file while it runs; who takes times asks for it alone, and so
waits until no other probe runs. Without a file (by hand, or where there is no ``flock``) nothing is
waited for.

    with _alone.alone():
        times = ...
"""

# ruff: noqa: ANN401 - modules have no types

from __future__ import annotations

import contextlib
import os
import time
from typing import Any, Iterator, Optional

try:
    import fcntl
except ImportError:  # Windows: probes run one at a time there
    fcntl = None  # type: ignore[assignment]

PATIENCE = 30.0
"""Seconds to wait for the others: one of them may hang until its own time is up."""
_STEP_SECONDS = 0.005

_gate = None  # type: Optional[int]
disturbed: "list[str]" = []
"""Why a time may be wrong, for the evidence; the harness adds it to the outcomes."""


def join(path: Optional[str]) -> None:
    """Count as running from here on, until this process ends."""
    global _gate  # noqa: PLW0603 - one gate a process
    if path is None or fcntl is None:
        return
    with contextlib.suppress(OSError):
        _gate = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        _take(_gate, fcntl.LOCK_SH)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Wait until no other probe runs, and let none run meanwhile; for short stretches of work."""
    if _gate is None:
        yield
        return
    fcntl.flock(_gate, fcntl.LOCK_UN)  # two that wait for each other's end would wait for ever
    if not _take(_gate, fcntl.LOCK_EX):
        disturbed.append("timed while another probe was running")
    try:
        yield
    finally:
        fcntl.flock(_gate, fcntl.LOCK_UN)
        _take(_gate, fcntl.LOCK_SH)


def _take(gate: Any, how: int) -> bool:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(gate, how | fcntl.LOCK_NB)
        except OSError:  # noqa: PERF203 - it is tried until it works
            if time.monotonic() >= until:
                return False
            time.sleep(_STEP_SECONDS)
        else:
            return True
