"""What signals mean to the command; in somebody's program they are not ours.

Told to end from outside, it ends as by Ctrl-C: children stopped, folders removed.

SIGTERM comes from timeout(1), from batch systems and from ``docker stop`` (process 1 of a container
would not even end by it, had it no handler); SIGHUP when a terminal or ssh is gone.
"""

from __future__ import annotations

import math
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_NAMES = ("SIGTERM", "SIGHUP")
_TIDYING_SECONDS = 5.0


def as_interrupts() -> None:
    """Let these signals raise ``KeyboardInterrupt``, unless we were started to ignore them."""
    for number in _numbers():
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)


def tell_of_children() -> None:
    """Let the kernel say how children end: it does not, where whoever started us ignored theirs."""
    child = getattr(signal, "SIGCHLD", None)
    if child is not None and signal.getsignal(child) is signal.SIG_IGN:
        signal.signal(child, signal.SIG_DFL)


def _numbers() -> list[signal.Signals]:
    return [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]


def _interrupt(_: int, __: FrameType | None) -> None:
    """Interrupt, but not who is tidying up for it: timeout(1) sends the same signal twice."""
    now = time.monotonic()
    if now - _latest[0] > _TIDYING_SECONDS:
        _latest[0] = now
        raise KeyboardInterrupt


_latest = [-math.inf]
"""When the latest interrupt was."""
