"""The one place that starts a process, bounds it, and leaves nothing of it behind.

A child gets an argument list, no shell, an empty stdin and a process group of its own. It is
stopped when it takes too long, too much memory or too much disk, and when it ends, in whatever
way, what it left running is stopped with it.

What is possible where:

- Linux: processes that left the group (``setsid``) are found by a variable in their environment.
  Only one that starts another program with a cleaned environment after leaving escapes. Memory is
  the resident set of all of them, polled (pages shared between them count once for each; CUDA
  reserves address space, so a bound on that would be wrong).
- macOS: the group is killed whole; memory is not watched (``peak_mib`` is None).
- Windows: the tree below the child is killed while the child lives; what outlives a child that
  ended by itself is not found, and memory is not watched.

Who belongs to a child is known by ``_family``, its output is read by ``_pipes``.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from qdoctor._family import HAS_PROC, MARK, Family, posix_family
from qdoctor._pipes import Drain, drain_pipes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_TICK_SECONDS = 0.05  # how often memory and disk are looked at, more often at first
_GRACE_SECONDS = 0.5  # between SIGTERM and SIGKILL
_DEATH_SECONDS = 2.0  # after SIGKILL; a process stuck in the kernel may take for ever
_MIB = 1 << 20
_NAME_BYTES = 16384
_PROC = Path("/proc")


class Ended(msgspec.Struct, frozen=True):
    """How a child ended.

    ``returncode`` is None when a signal ended it (then ``signal`` is its number), when it could
    not be started (``start_error`` says why) or when somebody else collected it. ``stdout`` and
    ``stderr`` are the last ``keep_bytes`` of each. ``seconds`` is wall time; ``peak_mib`` the
    largest resident memory seen of the whole group, None where it cannot be learned.
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


class _Bounds(msgspec.Struct, frozen=True):
    seconds: float
    memory_mib: int | None
    folder: Path | None
    folder_mib: int


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
    began = time.monotonic()
    mark = os.urandom(8).hex()
    family: Family = _Tree() if sys.platform == "win32" else posix_family(mark)
    try:
        popen = _start(argv, {**(os.environ if env is None else env), f"{MARK}{mark}": "1"}, cwd)
    except (OSError, ValueError) as error:
        return Ended(seconds=time.monotonic() - began, start_error=_why_not_started(error))
    drain: Drain | None = None
    try:
        family.adopt(popen.pid)
        drain = drain_pipes(popen.pid, *_pipes_of(popen), keep_bytes)
        _restrain(popen.pid, folder_mib if watch_folder else None)
        bounds = _Bounds(seconds, memory_mib, watch_folder, folder_mib)
        ended = _watch(popen, family, drain, bounds, began)
        _stop(popen, family, drain, _GRACE_SECONDS)
        drain.rest()
        code = _collect(popen)
    except BaseException:
        _kill_at_once(popen, family, drain)
        raise
    finally:
        _close(popen, drain)
    return _complete(ended, code, drain, time.monotonic() - began)


def _start(
    argv: Sequence[str], env: Mapping[str, str], cwd: Path | None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        list(argv),
        bufsize=0,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=env,
        start_new_session=sys.platform != "win32",
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # Windows
    )


def _why_not_started(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _restrain(pid: int, folder_mib: int | None) -> None:
    """Let the kernel help, without running Python between fork and exec.

    No core file; if memory runs out, the child goes before us; no single file can outgrow the
    folder's bound by far between two looks. That limit is wider than the bound, since it holds for
    whatever the child writes, shared memory included.
    """
    if sys.platform != "linux":
        return
    import resource  # noqa: PLC0415 - POSIX only

    with contextlib.suppress(OSError, ValueError):
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):
        if folder_mib is not None:
            size = 4 * folder_mib * _MIB
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, size))
    with contextlib.suppress(OSError):
        (_PROC / str(pid) / "oom_score_adj").write_text("1000")


def _watch(
    popen: subprocess.Popen[bytes], family: Family, drain: Drain, bounds: _Bounds, began: float
) -> Ended:
    """Wait until the child ends or breaks a bound; say which, and the memory it needed."""
    ended = Ended()
    look = 0.0
    while True:
        now = time.monotonic()
        if _has_ended(popen):
            return msgspec.structs.replace(ended, over_disk=_over_disk(bounds))
        if now - began >= bounds.seconds:
            return msgspec.structs.replace(ended, timed_out=True)
        if now >= look:
            look = now + min(_TICK_SECONDS, 0.005 + (now - began) / 4)
            ended = _look(ended, family, bounds)
            if ended.over_memory or ended.over_disk:
                return ended
        drain.wait(max(0.0, min(look, began + bounds.seconds) - now))


def _look(ended: Ended, family: Family, bounds: _Bounds) -> Ended:
    used = family.resident_mib()
    if used is not None:
        ended = msgspec.structs.replace(ended, peak_mib=max(used, ended.peak_mib or 0.0))
    over = used is not None and bounds.memory_mib is not None and used > bounds.memory_mib
    return msgspec.structs.replace(ended, over_memory=over, over_disk=_over_disk(bounds))


def _over_disk(bounds: _Bounds) -> bool:
    if bounds.folder is None:
        return False
    limit = bounds.folder_mib * _MIB
    used = 0
    for size in _sizes(bounds.folder):
        used += size
        if used >= limit:
            return True
    return False


def _sizes(folder: Path) -> Iterator[int]:
    """Bytes that each entry below ``folder`` counts: what it takes on the disk, and its name.

    A name counts much, since a folder of a million empty files is as hard to look through and to
    remove as a large one.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    blocks: int | None = getattr(found, "st_blocks", None)
                    yield _NAME_BYTES + (found.st_size if blocks is None else blocks * 512)
                if entry.is_dir(follow_symlinks=False):
                    yield from _sizes(Path(entry.path))
    except OSError:
        return


def _has_ended(popen: subprocess.Popen[bytes]) -> bool:
    """Whether the child ended. On Linux it stays uncollected: its number must name its group."""
    if sys.platform != "linux" or not HAS_PROC:
        return popen.poll() is not None
    try:
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, popen.pid, how) is not None
    except ChildProcessError:  # SIGCHLD is ignored in this process: the kernel collected it
        return True


def _collect(popen: subprocess.Popen[bytes]) -> int | None:
    """Collect the ended child; None when it is not ours to collect, or cannot be killed."""
    if popen.returncode is not None:
        return popen.returncode
    if sys.platform == "win32":
        return popen.wait(_DEATH_SECONDS)
    until = time.monotonic() + _DEATH_SECONDS
    while True:
        try:
            pid, status = os.waitpid(popen.pid, os.WNOHANG)
        except ChildProcessError:
            popen.returncode = 0  # Popen itself would say so; we say that we do not know
            return None
        if pid:
            popen.returncode = os.waitstatus_to_exitcode(status)
            return popen.returncode
        if time.monotonic() > until:
            return None
        time.sleep(0.005)


def _stop(
    popen: subprocess.Popen[bytes], family: Family, drain: Drain | None, grace: float
) -> None:
    """End all that still runs: politely for ``grace`` seconds, then not."""
    for force, patience in ((False, grace), (True, _DEATH_SECONDS)):
        until = time.monotonic() + patience
        asked = False
        while not _has_ended(popen) or family.alive():
            if force or not asked:
                family.end(force=force)
            asked = True
            if time.monotonic() >= until:
                break
            if drain is None:
                time.sleep(0.005)
            else:
                drain.wait(0.005)


def _kill_at_once(popen: subprocess.Popen[bytes], family: Family, drain: Drain | None) -> None:
    """Nobody waits for politeness any more: the caller is being interrupted."""
    family.adopt(popen.pid)
    family.end(force=True)
    _stop(popen, family, drain, 0.0)
    _collect(popen)


def _close(popen: subprocess.Popen[bytes], drain: Drain | None) -> None:
    if drain is not None:
        drain.close()
    for pipe in _pipes_of(popen):
        pipe.close()


def _pipes_of(popen: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if popen.stdout is None or popen.stderr is None:
        raise RuntimeError("the child was started without pipes")
    return popen.stdout, popen.stderr


def _complete(ended: Ended, code: int | None, drain: Drain, seconds: float) -> Ended:
    by_signal = sys.platform != "win32" and code is not None and code < 0
    return msgspec.structs.replace(
        ended,
        returncode=None if by_signal else code,
        signal=-code if by_signal and code is not None else None,
        stdout=drain.stdout.last(),
        stderr=drain.stderr.last(),
        seconds=seconds,
    )


class _Tree:
    """Windows: the tree below the child, as ``taskkill`` walks it."""

    _leader = 0

    def adopt(self, leader: int) -> None:
        self._leader = leader

    def alive(self) -> bool:
        return False

    def resident_mib(self) -> float | None:
        return None

    def end(self, *, force: bool) -> None:  # noqa: ARG002 - a console program hears no polite request
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                ["taskkill", "/T", "/F", "/PID", str(self._leader)],  # noqa: S607
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_DEATH_SECONDS,
                check=False,
            )
