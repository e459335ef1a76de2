"""Lends a probe silence while it is timed: the others are stopped, for some seconds at most.

The other end is ``kernels/_alone.py``: a lock, so that one probe at a time asks, and a bell, a FIFO
into which it writes ``begin NAME`` and ``end NAME`` (NAME is its control folder's). That it is
alone, it sees by the file ``alone`` in its control folder.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from qdoctor.process import Child

_LONGEST = 5.0  # seconds of one silence
_MOST = 30.0  # seconds of all that one probe may ask for
_LINES = 4096


class Quiet:
    """The bell and whoever is alone now. Close it in the end."""

    def __init__(self, folder: Path) -> None:
        """Make the lock and the bell in the empty ``folder``. Raises ``OSError``."""
        (folder / "lock").touch()
        os.mkfifo(folder / "bell")
        # Read and write, so that it is never at its end though nobody may be writing.
        self._bell = os.open(folder / "bell", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._folder = folder
        self._alone: str | None = None
        self._since = 0.0
        self._lent: dict[str, float] = {}
        self._held: list[Child] = []

    @property
    def now(self) -> bool:
        """Whether somebody is alone, so that nothing else may start."""
        return self._alone is not None

    def fileno(self) -> int:
        """Return what is readable when the bell rings."""
        return self._bell

    def patience(self) -> float:
        """Seconds until ``poll`` must be called even if nobody rings."""
        return max(0.0, self._since + _LONGEST - time.monotonic()) if self.now else _LONGEST

    def poll(self, running: Mapping[Path, Child]) -> None:
        """Begin and end silences; ``running`` are the children by their control folders."""
        named = {control.name: control for control in running}
        for word, name in self._heard():
            if word == "end" and name == self._alone:
                self._end()
            elif word == "begin" and name in named and not self.now:
                self._begin(named[name], running)
        if self.now and (self._alone not in named or not self.patience()):
            self._end()

    def _heard(self) -> Iterator[tuple[str, str]]:
        with contextlib.suppress(BlockingIOError):
            for line in os.read(self._bell, _LINES).decode(errors="replace").splitlines():
                word, _, name = line.partition(" ")
                yield word, name

    def _begin(self, control: Path, running: Mapping[Path, Child]) -> None:
        if self._lent.get(control.name, 0.0) >= _MOST:
            return
        self._alone, self._since = control.name, time.monotonic()
        self._sign = control / "alone"
        self._held = [child for other, child in running.items() if other != control]
        for child in self._held:
            child.hold(still=True)
        with contextlib.suppress(OSError):
            self._sign.touch()

    def _end(self) -> None:
        name, self._alone = self._alone or "", None
        self._lent[name] = self._lent.get(name, 0.0) + time.monotonic() - self._since
        with contextlib.suppress(OSError):
            self._sign.unlink()
        for child in self._held:
            child.hold(still=False)
        self._held = []

    def close(self) -> None:
        """Let everybody go on."""
        if self.now:
            self._end()
        os.close(self._bell)
