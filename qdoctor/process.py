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
``adopt`` after one that somebody else forked. ``_child`` looks after a running one,
``_family`` knows who belongs to it, ``_pipes`` reads its output, ``_bounds`` has its bounds, and
``_rest`` ends what is left when this process ends.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import IO, TYPE_CHECKING

import msgspec

from qdoctor import _rest
from qdoctor._bounds import Bounds, restrain
from qdoctor._child import DEATH_SECONDS, Child, Ended, Leader, kill, wait
from qdoctor._family import HAS_PROC, MARK, Family, posix_family, runs
from qdoctor._pipes import drain_pipes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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
    "call_off",
    "is_running",
    "kill",
    "mark_name",
    "run",
    "start",
    "wait",
]


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
    popen: subprocess.Popen[bytes] | None = None
    child: Child | None = None
    _rest.begin(family)
    try:
        popen = _popen(argv, environ, cwd, pass_fds)
        child = Child(_Started(popen), family, bounds, began)
        child.drain = drain_pipes(popen.pid, *_pipes_of(popen), keep_bytes)
        restrain(popen.pid, bounds)
    except (OSError, ValueError) as error:  # of files too many are open, even to watch it
        _undo(popen, child, family)
        return Ended(seconds=time.monotonic() - began, start_error=_why_not_started(error))
    except BaseException:  # interrupted: it may run though we do not know its number yet
        _undo(popen, child, family)
        raise
    return child


def _undo(popen: subprocess.Popen[bytes] | None, child: Child | None, family: Family) -> None:
    if child is None:
        family.end(force=True)
        _rest.forget(family)
        return
    child.kill()
    for pipe in _pipes_of(popen) if popen is not None and child.drain is None else ():
        pipe.close()


class Forked(msgspec.Struct, frozen=True):
    """What a child that somebody else will fork needs from here; made before it is forked.

    ``mark`` must stand in its environment as ``mark_name(mark)`` before it runs anything.
    """

    mark: str
    family: Family
    began: float


def before_fork() -> Forked:
    """Make ready for a child that another process of ours forks: ``adopt`` it or call it off."""
    made = os.urandom(8).hex()
    forked = Forked(made, posix_family(made), time.monotonic())
    _rest.begin(forked.family)
    return forked


def call_off(made: Forked) -> None:
    """End what may have been forked, and expect nothing of it any more."""
    made.family.end(force=True)
    _rest.forget(made.family)


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
    try:
        child.drain = drain_pipes(leader.pid, *pipes, keep_bytes)
    except BaseException:
        child.kill()
        for pipe in pipes:
            pipe.close()
        raise
    return child


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
            return self._popen.wait(DEATH_SECONDS)
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

    leader: int | None = None

    def adopt(self, leader: int) -> None:
        self.leader = leader

    def alive(self) -> bool:
        return False

    def memory_mib(self, limit: float | None) -> float | None:  # noqa: ARG002 - not known here
        return None

    def hold(self, *, still: bool) -> None:
        """Nothing is stopped here."""

    def end(self, *, force: bool) -> None:  # noqa: ARG002 - a console program hears no polite request
        if self.leader is None:
            return
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                ["taskkill", "/T", "/F", "/PID", str(self.leader)],  # noqa: S607
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=DEATH_SECONDS,
                check=False,
            )
