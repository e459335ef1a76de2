"""Ends what still runs when this process ends, though a thread looks after it. Part of ``process``.

Whoever is interrupted may leave without waiting for its other threads; what these have started
would run on, and nobody would bound it any more.
"""

from __future__ import annotations

import atexit
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qdoctor._family import Family

_STARTING_SECONDS = 1.0
_STEP_SECONDS = 0.005

_begun: dict[Family, int] = {}
"""Who may run, and the number of the process that began it: a forked one copies what is here."""


def begin(family: Family) -> None:
    """Take note of it before it is started, so that no moment is left out."""
    _begun[family] = os.getpid()


def forget(family: Family) -> None:
    """Nothing of it is left, or it was never started."""
    _begun.pop(family, None)


@atexit.register
def _end_all() -> None:
    families = [family for family, began in [*_begun.items()] if began == os.getpid()]
    until = time.monotonic() + _STARTING_SECONDS
    while any(each.leader is None for each in families) and time.monotonic() < until:
        time.sleep(_STEP_SECONDS)
    for each in families:
        each.end(force=True)
