"""Emptying a child's two pipes, so that a child that floods them neither blocks nor fills memory.

Part of ``process``; used by nothing else.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import sys
import threading
import time
from typing import IO, Protocol

_LAST_WORDS_SECONDS = 0.5


class Tail:
    """The last bytes of a stream of any length."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._data = bytearray()

    def add(self, chunk: bytes) -> None:
        self._data += chunk
        if len(self._data) > 4 * self._keep:
            self._data = self._data[-self._keep :]

    def last(self) -> bytes:
        return bytes(self._data[-self._keep :]) if self._keep else b""


class Drain(Protocol):
    """Empties a child's two pipes so that it never blocks on them."""

    stdout: Tail
    stderr: Tail

    def wait(self, seconds: float) -> None:
        """Return when output came, when the child ended (where that can be seen), or in time."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when ``wait`` has something to do; POSIX only."""

    def rest(self) -> None:
        """Take what is left in the pipes once everything was stopped."""

    def close(self) -> None:
        """Close the pipes, and let go of what ``wait`` needed."""


def drain_pipes(pid: int, stdout: IO[bytes], stderr: IO[bytes], keep: int) -> Drain:
    """Begin to empty the pipes of the running child ``pid``, keeping the last bytes of each."""
    if sys.platform == "win32":
        return _Reading(stdout, stderr, keep)
    return _Selecting(pid, stdout, stderr, keep)


class _Selecting:
    """POSIX: one selector over both pipes and, on Linux, the end of the child."""

    def __init__(self, pid: int, stdout: IO[bytes], stderr: IO[bytes], keep: int) -> None:
        self.stdout, self.stderr = Tail(keep), Tail(keep)
        self._selector = selectors.DefaultSelector()
        self._pipes = (stdout, stderr)
        for pipe, tail in ((stdout, self.stdout), (stderr, self.stderr)):
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe.fileno(), selectors.EVENT_READ, tail)
        self._ending: int | None = None
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # an old kernel, a sandbox: then the tick must do
                self._ending = os.pidfd_open(pid)
                self._selector.register(self._ending, selectors.EVENT_READ, None)

    def wait(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            if key.data is None or not self._read(key.fd, key.data):
                self._selector.unregister(key.fd)

    def fileno(self) -> int:
        return self._selector.fileno()

    def rest(self) -> None:
        for _ in range(64):  # more than a pipe holds: whoever still writes must not hold us
            if not self._selector.select(0):
                return
            self.wait(0)

    def close(self) -> None:
        self._selector.close()
        if self._ending is not None:
            os.close(self._ending)
            self._ending = None
        for pipe in self._pipes:
            pipe.close()

    @staticmethod
    def _read(fd: int, tail: Tail) -> bool:
        try:
            chunk = os.read(fd, 65536)
        except BlockingIOError:
            return True
        tail.add(chunk)
        return bool(chunk)


class _Reading:
    """Windows: pipes cannot be selected there, so each has a thread."""

    def __init__(self, stdout: IO[bytes], stderr: IO[bytes], keep: int) -> None:
        self.stdout, self.stderr = Tail(keep), Tail(keep)
        pairs = ((stdout, self.stdout), (stderr, self.stderr))
        self._pipes = (stdout, stderr)
        self._threads = [
            threading.Thread(target=self._read, args=pair, daemon=True) for pair in pairs
        ]
        for thread in self._threads:
            thread.start()

    def wait(self, seconds: float) -> None:
        reading = [thread for thread in self._threads if thread.is_alive()]
        if reading:
            reading[0].join(seconds)
        else:
            time.sleep(seconds)

    def rest(self) -> None:
        for thread in self._threads:
            thread.join(_LAST_WORDS_SECONDS)

    def fileno(self) -> int:
        raise NotImplementedError  # nothing selects here

    def close(self) -> None:
        for pipe in self._pipes:  # the threads end with them
            pipe.close()

    @staticmethod
    def _read(pipe: IO[bytes], tail: Tail) -> None:
        with contextlib.suppress(OSError, ValueError):
            while chunk := pipe.read(65536):
                tail.add(chunk)
