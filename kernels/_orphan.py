"""Lets a process end with the one that started it, in whatever way that one ends.

The engine bounds its children. Where it is killed itself (by a job's limit, for want of memory),
one that hangs would hang for ever, and hold its GPU memory.

Python 3.8 syntax, standard library only: this runs inside the examined interpreter.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal to get when the thread that started this process ends. Children that are
forked do not inherit it."""


def end_with_parent() -> None:
    """Ask the kernel (Linux) for SIGKILL at our parent's end."""
    _ask_for(getattr(signal, "SIGKILL", 0))


def outlive_parent() -> None:
    """Take that back."""
    _ask_for(0)


def _ask_for(number: int) -> None:
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):  # no such libc: only the engine ends us then
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
