"""One process measures while the others wait: a lock that saves work, and that nothing relies on.

The lock is a file that only one process can create. Its owner writes to it every second; who waits
believes in it as long as it changes. No clock of another host is compared, and ``flock``, which
network file systems may lack or pretend, is not used. Whoever finds the owner dead takes its place.
An owner may also live and get nowhere, held by a GPU's driver or an overloaded machine: after so
long one of those that wait works beside it, and after as long again one more. So at worst a
measurement is made three times, however many wait, and the first one kept is the answer of all.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BEAT_SECONDS = 1.0
_SILENT_SECONDS = 20.0
"""A lock of another host that has not changed for so long is nobody's. Attributes of a file are
asked for through a freshly opened descriptor, which network file systems answer truly (nfs(5),
close-to-open)."""
_POLL_SECONDS = (0.02, 0.25)
_TEXT_BYTES = 512
_WORKING = 3
"""Processes that may work at one answer at once; the second and third take the place of none."""


class Lock:
    """A file whose creation is the lock."""

    def __init__(self, path: str, *, silent: float = _SILENT_SECONDS) -> None:
        """``silent``: seconds without a beat after which an owner counts as dead."""
        self.path = path
        self._silent = silent
        self._own = identity()
        self._seen: tuple[str, int] | None = None
        self._since = 0.0

    def take(self) -> bool:
        """Create the file. False where it is there; raises ``OSError`` where none can be made."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            handle = os.open(self.path, flags, 0o600)
        except FileExistsError:
            return False
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self._own.encode())
        except OSError:  # the disk is full: nobody could tell whose it is
            with contextlib.suppress(OSError):
                os.unlink(self.path)
            raise
        return True

    def owner_is_dead(self) -> bool:
        """Say whether the file is one that nobody will remove."""
        try:
            with open(self.path, "rb") as file:
                text = file.read(_TEXT_BYTES).decode("utf-8", "replace")
                changed = os.fstat(file.fileno()).st_mtime_ns
        except OSError:  # removed meanwhile, or not ours to read
            self._seen = None
            return False
        if (text, changed) != self._seen:
            self._seen, self._since = (text, changed), time.monotonic()
        if is_of_here(text):  # a live one may be kept from beating: by a slow disk, or stopped
            return is_dead_here(text)
        return time.monotonic() - self._since > self._silent

    def break_up(self) -> bool:
        """Take a dead owner's file away; a live one that came in between is put back.

        False where it cannot be taken away, as in a folder that has become read-only.
        """
        aside = f"{self.path}.{os.getpid()}.{os.urandom(4).hex()}"
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:  # another one took it away first
            return True
        except OSError:
            return False
        with contextlib.suppress(OSError):
            with open(aside, "rb") as file:
                text = file.read(_TEXT_BYTES).decode("utf-8", "replace")
            if self._seen is not None and text != self._seen[0]:
                os.link(aside, self.path)
        with contextlib.suppress(OSError):
            os.unlink(aside)
        return True

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Beat while the work is done, then remove the file if it still is this owner's."""
        done = threading.Event()
        beating = threading.Thread(target=self._beat, args=(done,), daemon=True)
        try:
            with contextlib.suppress(RuntimeError):  # no thread to be had: on this host it is seen
                beating.start()
            yield
        finally:
            done.set()
            if beating.ident is not None:
                beating.join(_BEAT_SECONDS)
            self.release()

    def _beat(self, done: threading.Event) -> None:
        while not done.wait(_BEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def release(self) -> None:
        """Remove the file if it still is this owner's."""
        with contextlib.suppress(OSError):
            with open(self.path, "rb") as file:
                mine = file.read(_TEXT_BYTES).decode("utf-8", "replace") == self._own
            if mine:
                os.unlink(self.path)


class NoTurnError(RuntimeError):
    """Others have worked for long, live, and none has an answer."""


def turn(path: str, is_answered: Callable[[], bool], seconds: float) -> Lock | None:
    """Wait for the answer (None), or for this process's turn to find it: the lock that it took.

    ``seconds`` is the patience with one that works; then one more may, of at most ``_WORKING``.
    Raises ``NoTurnError`` where patience with the last of them is over, ``OSError`` where no lock
    file can be made.
    """
    for number in range(1, _WORKING + 1):
        lock = Lock(path if number == 1 else f"{path}.{number}")
        mine = wait_or_take(lock, is_answered, seconds)
        if mine is not None:
            return lock if mine else None
    raise NoTurnError(f"{_WORKING} processes have worked at it for {_WORKING * seconds:.0f} s")


def wait_or_take(lock: Lock, is_answered: Callable[[], bool], seconds: float) -> bool | None:
    """Wait until the answer is there (False) or it is this process's turn to find it (True).

    None: after so many seconds the owner still works, or it is dead and its file cannot be taken
    away. Raises ``OSError`` where no lock file can be made.
    """
    until = time.monotonic() + seconds
    pause, longest = _POLL_SECONDS
    while True:
        if lock.take():
            return not _answered_meanwhile(lock, is_answered)
        if is_answered():
            return False
        if lock.owner_is_dead():
            if lock.break_up():
                continue
            return None
        if time.monotonic() > until:
            return None
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - so that not all ask at once
        pause = min(longest, pause * 1.5)


def _answered_meanwhile(lock: Lock, is_answered: Callable[[], bool]) -> bool:
    """Look once more with the lock in hand: the last owner may just have finished."""
    if not is_answered():
        return False
    lock.release()
    return True


def identity() -> str:
    """Name this process so that another one of the same host can tell whether it lives."""
    return f"{_host()} {os.getpid()} {_started(os.getpid())} {os.urandom(8).hex()}\n"


def _host() -> str:
    """Name the host since its boot, and the process numbers that hold there (containers).

    ``?`` where that is not known for sure: two hosts must not be taken for one, as the owner of the
    one would then be looked for, and missed, on the other. Machines that go on from one snapshot
    share the number of their boot. A /proc of another namespace numbers processes otherwise.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            boot = file.read(64).decode("ascii", "replace").strip()
        numbers = os.readlink("/proc/self/ns/pid")
        if os.readlink("/proc/self") != str(os.getpid()):
            return "?"
    except OSError:
        return "?"
    name = "".join(os.uname().nodename.split())
    return f"{name}/{boot}/{numbers}" if boot else "?"


def _started(process: int) -> str:
    """Return when a process started, in ticks since boot (proc(5), stat, field 22)."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def is_of_here(text: str) -> bool:
    """Say whether the owner is a process of this host, of which it is known whether it lives."""
    words = text.split(" ")
    whole = len(words) == 4 and words[1].isdecimal() and words[2] != ""  # noqa: PLR2004
    return whole and words[0] == _host() != "?"


def is_dead_here(text: str) -> bool:
    """Say whether the owner is a process of this host that has ended; False if that is unknown."""
    if not is_of_here(text):
        return False
    _, number, started, _ = text.split(" ")
    return _started(int(number)) != started
