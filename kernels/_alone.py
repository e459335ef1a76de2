"""Let what is timed run alone, though probes run side by side.

    with _alone.alone():
        times = ...

Who wants to be alone takes the lock, rings the engine's bell and waits until the engine has stopped
the other probes; a second ring lets them go on. The engine lends silence for some seconds only:
where it was cut short, never came, or was not asked for in time, ``disturbed`` says so. Run by hand
nothing is waited for.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Callable, Iterator, Optional

try:
    import fcntl
except ImportError:  # Windows: probes run one at a time there
    fcntl = None  # type: ignore[assignment]

PATIENCE = 30.0
"""Seconds to wait for others that are being timed: one of them may hang."""
SILENCE = 3.0
"""Seconds to wait for the engine."""
_STEP_SECONDS = 0.001
_DOUBT = "timed while other probes may have been running"

_gate = None  # type: Optional[Path]
_sign = Path()
disturbed: "list[str]" = []
"""Why a time may be wrong, for the evidence; the harness adds it to the outcomes."""


def join(gate: Optional[str], control: Path) -> None:
    """Learn where the lock and the bell are; ``control`` is by what the engine knows this probe."""
    global _gate, _sign
    _gate, _sign = (Path(gate) if gate and fcntl else None), control / "alone"


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Stop the other probes meanwhile; for a second of work at most."""
    if _gate is None:
        yield
        return
    lock = os.open(str(_gate / "lock"), os.O_RDONLY)
    try:
        quiet = _taken(lock) and _ring("begin") and _until(_sign.exists, SILENCE)
        yield
        quiet = quiet and _sign.exists()  # the engine takes it away when it lets others run again
        _ring("end")
        if not quiet:
            disturbed.append(_DOUBT)
    finally:
        os.close(lock)


def _taken(lock: int) -> bool:
    def take() -> bool:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    return _until(take, PATIENCE)


def _ring(word: str) -> bool:
    try:
        bell = os.open(str(_gate) + "/bell", os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # no engine listens
        return False
    try:
        os.write(bell, "{} {}\n".format(word, _sign.parent.name).encode())
    except OSError:
        return False
    finally:
        os.close(bell)
    return True


def _until(holds: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() >= until:
            return False
        time.sleep(_STEP_SECONDS)
    return True
