"""A running child and its bounds, looked after in steps. Part of ``process``."""

from __future__ import annotations

import select
import sys
import time
from typing import TYPE_CHECKING, Protocol

import msgspec

from qdoctor import _rest
from qdoctor._bounds import over_disk

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qdoctor._bounds import Bounds
    from qdoctor._family import Family
    from qdoctor._pipes import Drain

_TICK_SECONDS = 0.1  # how often memory and disk are looked at, more often at first
_GRACE_SECONDS = 0.5  # between SIGTERM and SIGKILL
DEATH_SECONDS = 2.0  # after SIGKILL; a process stuck in the kernel may take for ever
_STEP_SECONDS = 0.005  # between two looks at what is about to end


class Ended(msgspec.Struct, frozen=True):
    """How a child ended.

    ``returncode`` is None when a signal ended it (then ``signal`` is its number), when it could
    not be started (``start_error`` says why) or when somebody else collected it. ``stdout`` and
    ``stderr`` are the last ``keep_bytes`` of each. ``seconds`` is wall time; ``peak_mib`` the
    largest memory seen of the whole group, None where it cannot be learned.
    """

    returncode: int | None = None
    signal: int | None = None
    timed_out: bool = False
    over_memory: bool = False
    over_disk: bool = False
    stdout: bytes = b""
    stderr: bytes = b""
    seconds: float = 0.0
    peak_mib: float | None = None
    start_error: str | None = None


class Leader(Protocol):
    """The process that a family begins with: one we started, or one forked for us."""

    pid: int

    def has_ended(self) -> bool:
        """Whether it ended; it stays uncollected, since its number must name its group."""

    def collect(self) -> int | None:
        """Let its number go: exit status, negative signal, or None where that is not known."""


class Child:
    """A running child, looked after in steps so that one loop can look after many."""

    drain: Drain | None = None

    def __init__(self, leader: Leader, family: Family, bounds: Bounds, began: float) -> None:
        """``began`` is the time (``time.monotonic``) from which its seconds count."""
        self.pid = leader.pid
        self.peak_mib: float | None = None
        self._leader, self._family, self._bounds, self._began = leader, family, bounds, began
        self._broken: Ended | None = None  # set once it ended or broke a bound
        self._look_at = 0.0
        self._end_at = 0.0  # of the present degree of politeness
        self._force = False
        self._held_at: float | None = None
        self._ended: Ended | None = None  # and was collected: its number may be somebody else's
        family.adopt(leader.pid)
        self._used_mib()  # once at least, however soon it ends

    def poll(self) -> Ended | None:
        """Take a step; how it ended once nothing of it is left, None while something is."""
        if self._ended is not None:
            return self._ended
        now = time.monotonic()
        if self.drain is not None:
            self.drain.wait(0)
        if self._broken is None:
            self._broken = self._seen(now)
            if self._broken is None:
                return None
            self._end_at = now + _GRACE_SECONDS
            self._family.end(force=False) if self._runs() else None
        return self._stopped(now)

    def wait(self) -> None:
        """Sleep until there may be something to do for this child."""
        if self.drain is None:
            time.sleep(_STEP_SECONDS)
        else:
            self.drain.wait(self.patience())

    def patience(self) -> float:
        """Seconds until ``poll`` should be called even if nothing is heard of the child."""
        if self._broken is not None:
            return _STEP_SECONDS
        now = time.monotonic()
        left = self._bounds.seconds - self._age(now)
        return max(0.0, min(self._look_at - now, left))

    def hold(self, *, still: bool) -> None:
        """Stop it where it is, or let it go on; the time between does not count as its own."""
        now = time.monotonic()
        if still and self._held_at is None and self._broken is None:
            self._held_at = now
            self._family.hold(still=True)
        elif not still and self._held_at is not None:
            self._began += now - self._held_at
            self._held_at = None
            self._family.hold(still=False)

    def _age(self, now: float) -> float:
        """Seconds that it has had."""
        return (now if self._held_at is None else self._held_at) - self._began

    def strike(self) -> None:
        """Kill it, and do not wait for its end."""
        self._broken, self._force = self._broken or Ended(), True
        if self._ended is None:
            self._family.end(force=True)

    def kill(self) -> None:
        """End it at once: nobody waits for politeness any more."""
        self.strike()
        if self._ended is not None:
            return
        until = time.monotonic() + DEATH_SECONDS
        while self._runs() and time.monotonic() < until:
            self._family.end(force=True)
            time.sleep(_STEP_SECONDS)
        self._finish()

    def _seen(self, now: float) -> Ended | None:
        if self._leader.has_ended():
            return Ended(peak_mib=self.peak_mib, over_disk=over_disk(self._bounds))
        if self._age(now) >= self._bounds.seconds:
            return Ended(peak_mib=self.peak_mib, timed_out=True)
        if now < self._look_at:
            return None
        self._look_at = now + min(_TICK_SECONDS, 0.005 + self._age(now) / 4)
        used, limit = self._used_mib(), self._bounds.memory_mib
        over = used is not None and limit is not None and used > limit
        full = over_disk(self._bounds)
        return (
            Ended(peak_mib=self.peak_mib, over_memory=over, over_disk=full) if over | full else None
        )

    def _used_mib(self) -> float | None:
        used = self._family.memory_mib(self._bounds.memory_mib)
        if used is not None:
            self.peak_mib = max(used, self.peak_mib or 0.0)
        return used

    def _runs(self) -> bool:
        return not self._leader.has_ended() or self._family.alive()

    def _stopped(self, now: float) -> Ended | None:
        if self._runs():
            if self._force:
                self._family.end(force=True)
            if now < self._end_at:
                return None
            if not self._force:
                self._force, self._end_at = True, now + DEATH_SECONDS
                self._family.end(force=True)
                return None
        return self._finish()

    def _finish(self) -> Ended:
        if self.drain is not None:
            self.drain.rest()
        code = self._leader.collect()
        by_signal = sys.platform != "win32" and code is not None and code < 0
        self._ended = msgspec.structs.replace(
            self._broken or Ended(),
            returncode=None if by_signal else code,
            signal=-code if by_signal and code is not None else None,
            stdout=self.drain.stdout.last() if self.drain is not None else b"",
            stderr=self.drain.stderr.last() if self.drain is not None else b"",
            seconds=time.monotonic() - self._began,
        )
        _rest.forget(self._family)
        if self.drain is not None:
            self.drain.close()
        return self._ended


def wait(children: Iterable[Child], also: Iterable[int] = (), seconds: float = 60.0) -> None:
    """Sleep until one of the children, or of the descriptors ``also``, has something to say."""
    every = list(children)
    limit = min([seconds, *(child.patience() for child in every)])
    if sys.platform == "win32":
        time.sleep(min(limit, _STEP_SECONDS))
        return
    watched = select.poll()
    for number in [*also, *(child.drain.fileno() for child in every if child.drain is not None)]:
        watched.register(number, select.POLLIN)
    watched.poll(max(0.0, limit) * 1000)


def kill(children: Sequence[Child]) -> None:
    """End several at once, and return when nothing of them is left."""
    for child in children:
        child.strike()
    for child in children:
        child.kill()
