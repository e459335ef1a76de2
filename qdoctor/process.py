"""The one place that starts a process, bounds it, and leaves nothing of it behind.

A child gets an argument list, no shell, an empty stdin and a process group of its own. It is
stopped when it takes too long, too much memory or too much disk, and when it ends, in whatever
way, what it left running is stopped with it.

What is possible where:

- Linux: processes that left the group (``setsid``) are found by a variable in their environment.
  Only one that starts another program with a cleaned environment after leaving escapes. Memory is
  what all of them hold, polled: pages that several processes share count in proportion (Pss; CUDA
  reserves address space, so a bound on that would be wrong).
- macOS: the group is killed whole; memory is not watched (``peak_mib`` is None).
- Windows: the tree below the child is killed while the child lives; what outlives a child that
  ended by itself is not found, and memory is not watched.

``run`` does one child from beginning to end; ``start`` and ``wait`` look after several at once, and
``adopt`` after one that somebody else forked. Who belongs to a child is known by ``_family``, its
output is read by ``_pipes``, its bounds are held by ``_bounds``.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from typing import IO, TYPE_CHECKING, Protocol

import msgspec

from qdoctor._bounds import Bounds, over_disk, restrain
from qdoctor._family import HAS_PROC, MARK, Family, posix_family, runs
from qdoctor._pipes import Drain, drain_pipes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "HAS_PROC",
    "Bounds",
    "Child",
    "Ended",
    "Forked",
    "Leader",
    "adopt",
    "before_fork",
    "is_running",
    "kill",
    "mark_name",
    "run",
    "start",
    "wait",
]

_TICK_SECONDS = 0.1  # how often memory and disk are looked at, more often at first
_GRACE_SECONDS = 0.5  # between SIGTERM and SIGKILL
_DEATH_SECONDS = 2.0  # after SIGKILL; a process stuck in the kernel may take for ever
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


def run(  # noqa: PLR0913 - each is a bound or a place, named by the caller
    argv: Sequence[str],
    *,
    seconds: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    memory_mib: int | None = None,
    watch_folder: Path | None = None,
    folder_mib: int = 64,
    keep_bytes: int = 65536,
) -> Ended:
    """Run ``argv`` to its end or to the first bound it breaks, and stop all it started.

    ``env`` None means our own environment. ``watch_folder`` may grow to ``folder_mib``. A child
    that cannot be started is an answer (``start_error``), not an exception. ``KeyboardInterrupt``
    kills everything at once and goes on to the caller.
    """
    bounds = Bounds(seconds, memory_mib, watch_folder, folder_mib)
    child = start(argv, bounds, env=env, cwd=cwd, keep_bytes=keep_bytes)
    if isinstance(child, Ended):
        return child
    try:
        while (ended := child.poll()) is None:
            child.wait()
    except BaseException:
        child.kill()
        raise
    return ended


def start(  # noqa: PLR0913 - likewise
    argv: Sequence[str],
    bounds: Bounds,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    keep_bytes: int = 65536,
) -> Child | Ended:
    """Start ``argv`` and go on; where that fails, say so as ``run`` does."""
    began = time.monotonic()
    mark = os.urandom(8).hex()
    family: Family = _Tree() if sys.platform == "win32" else posix_family(mark)
    environ = {**(os.environ if env is None else env), f"{MARK}{mark}": "1"}
    try:
        popen = _popen(argv, environ, cwd, pass_fds)
    except (OSError, ValueError) as error:
        return Ended(seconds=time.monotonic() - began, start_error=_why_not_started(error))
    leader = _Started(popen)
    child = Child(leader, family, bounds, began)
    try:
        child.drain = drain_pipes(popen.pid, *_pipes_of(popen), keep_bytes)
        restrain(popen.pid, bounds)
    except BaseException:
        child.kill()
        raise
    return child


class Forked(msgspec.Struct, frozen=True):
    """What a child that somebody else will fork needs from here; made before it is forked.

    ``mark`` must stand in its environment as ``mark_name(mark)`` before it runs anything.
    """

    mark: str
    family: Family
    began: float


def before_fork() -> Forked:
    """Make ready for a child that is forked by another process of ours."""
    mark = os.urandom(8).hex()
    return Forked(mark, posix_family(mark), time.monotonic())


def mark_name(mark: str) -> str:
    """Name the environment variable (of value 1) that a child carries."""
    return f"{MARK}{mark}"


def adopt(
    leader: Leader,
    made: Forked,
    bounds: Bounds,
    pipes: tuple[IO[bytes], IO[bytes]],
    keep_bytes: int = 65536,
) -> Child:
    """Look after a forked child as after a started one; ``pipes`` (its output) are closed by it."""
    child = Child(leader, made.family, bounds, made.began)
    child.drain = drain_pipes(leader.pid, *pipes, keep_bytes)
    return child


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
        family.adopt(leader.pid)
        self._used_mib()  # once at least, however soon it ends

    def poll(self) -> Ended | None:
        """Take a step; how it ended once nothing of it is left, None while something is."""
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
        self._family.end(force=True)

    def kill(self) -> None:
        """End it at once: nobody waits for politeness any more."""
        self.strike()
        until = time.monotonic() + _DEATH_SECONDS
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
                self._force, self._end_at = True, now + _DEATH_SECONDS
                self._family.end(force=True)
                return None
        return self._finish()

    def _finish(self) -> Ended:
        if self.drain is not None:
            self.drain.rest()
        code = self._leader.collect()
        by_signal = sys.platform != "win32" and code is not None and code < 0
        stdout = self.drain.stdout.last() if self.drain is not None else b""
        stderr = self.drain.stderr.last() if self.drain is not None else b""
        if self.drain is not None:
            self.drain.close()
        return msgspec.structs.replace(
            self._broken or Ended(),
            returncode=None if by_signal else code,
            signal=-code if by_signal and code is not None else None,
            stdout=stdout,
            stderr=stderr,
            seconds=time.monotonic() - self._began,
        )


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


def is_running(pid: int) -> bool:
    """Whether a process of this number runs; one that ended and waits to be collected does not."""
    return HAS_PROC and runs(pid)


class _Started:
    """A process that we started."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self.pid = popen.pid

    def has_ended(self) -> bool:
        if sys.platform != "linux" or not HAS_PROC:
            return self._popen.poll() is not None
        try:
            how = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self.pid, how) is not None
        except ChildProcessError:  # SIGCHLD is ignored in this process: the kernel collected it
            return True

    def collect(self) -> int | None:
        """Collect the ended child; None when it is not ours to collect, or cannot be killed."""
        if self._popen.returncode is not None:
            return self._popen.returncode
        if sys.platform == "win32":
            return self._popen.wait(_DEATH_SECONDS)
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            self._popen.returncode = 0  # Popen itself would say so; we say that we do not know
            return None
        if not pid:  # stuck in the kernel beyond our patience
            return None
        self._popen.returncode = os.waitstatus_to_exitcode(status)
        return self._popen.returncode


def _popen(
    argv: Sequence[str], env: Mapping[str, str], cwd: Path | None, pass_fds: Sequence[int]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        list(argv),
        bufsize=0,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=env,
        pass_fds=pass_fds,
        start_new_session=sys.platform != "win32",
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # Windows
    )


def _why_not_started(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _pipes_of(popen: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if popen.stdout is None or popen.stderr is None:
        raise RuntimeError("the child was started without pipes")
    return popen.stdout, popen.stderr


class _Tree:
    """Windows: the tree below the child, as ``taskkill`` walks it."""

    _leader = 0

    def adopt(self, leader: int) -> None:
        self._leader = leader

    def alive(self) -> bool:
        return False

    def memory_mib(self, limit: float | None) -> float | None:  # noqa: ARG002 - not known here
        return None

    def hold(self, *, still: bool) -> None:
        """Nothing is stopped here."""

    def end(self, *, force: bool) -> None:  # noqa: ARG002 - a console program hears no polite request
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                ["taskkill", "/T", "/F", "/PID", str(self._leader)],  # noqa: S607
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_DEATH_SECONDS,
                check=False,
            )
