"""Who belongs to a child on POSIX systems: its group, and on Linux those who left the group.

Part of ``process``; used by nothing else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Protocol

import msgspec

MARK = "QDOCTOR_CHILD_"  # and a random word: a child may itself have such children
_PROC = Path("/proc")


def _shows_us() -> bool:
    """Whether /proc is there and numbers processes as we do: not so after ``unshare --pid`` alone.

    A number read there would be another process's here.
    """
    try:
        return str((_PROC / "self").readlink()) == str(os.getpid())
    except OSError:
        return False


HAS_PROC = sys.platform == "linux" and _shows_us()
_MIB = 1 << 20
_STARTING_SECONDS = 0.2  # that a child of ours may go on without an environment while it starts
_PSS_SECONDS = 0.3  # between two exact looks: the kernel walks all pages of the process for one


class Family(Protocol):
    """A child and all that it started."""

    leader: int | None
    """The child's process id, once it is known."""

    def adopt(self, leader: int) -> None:
        """Learn the child's process id, once it runs."""

    def alive(self) -> bool:
        """Whether anything but the leader itself still runs."""

    def memory_mib(self, limit: float | None) -> float | None:
        """Memory of all of them in MiB, exact above ``limit``; None where it cannot be learned.

        Pages that several processes hold count in proportion, whoever the others are.
        """

    def end(self, *, force: bool) -> None:
        """Ask all of them to end, or kill them; before ``adopt``, those that can be told."""

    def hold(self, *, still: bool) -> None:
        """Stop all of them where they are, or let them go on."""


def posix_family(mark: str) -> Family:
    """Make ready for a child whose environment will hold ``MARK + mark``; call before it starts."""
    return _MarkedGroup(mark) if HAS_PROC else _Group()


class _Group:
    """POSIX: the process group that the child leads."""

    leader: int | None = None  # not 0: to killpg, that is the caller's own group

    def adopt(self, leader: int) -> None:
        self.leader = leader

    def alive(self) -> bool:
        if self.leader is None:
            return False
        try:
            os.killpg(self.leader, 0)
        except (ProcessLookupError, PermissionError):  # macOS says the latter of ended processes
            return False
        return True

    def memory_mib(self, limit: float | None) -> float | None:  # noqa: ARG002 - not known here
        return None

    def end(self, *, force: bool) -> None:
        self.send(signal.SIGKILL if force else signal.SIGTERM)

    def hold(self, *, still: bool) -> None:
        self.send(signal.SIGSTOP if still else signal.SIGCONT)

    def send(self, number: int) -> None:
        """Send a signal to all of them."""
        if self.leader is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.leader, number)


class _Process(msgspec.Struct, frozen=True):
    pid: int
    parent: int
    group: int
    session: int
    running: bool
    resident_pages: int


class _MarkedGroup(_Group):
    """Linux: the group, the session, and whoever left both but still carries the mark."""

    def __init__(self, mark: str) -> None:
        self._mark = f"{MARK}{mark}=1".encode()
        self._foreign = set(_pids())  # who ran before the child cannot belong to it
        self._strays: set[int] = set()
        self._starting = False
        self._page_mib = os.sysconf("SC_PAGE_SIZE") / _MIB
        self._exact_at = 0.0
        self._exact = 0.0

    def adopt(self, leader: int) -> None:
        super().adopt(leader)
        self._foreign.discard(leader)  # a forked child may be seen before it carries its mark

    def alive(self) -> bool:
        others = [each for each in self._members() if each.pid != self.leader]
        for each in others:
            if not each.running and each.parent == os.getpid():  # we are the machine's reaper
                with contextlib.suppress(OSError):
                    os.waitpid(each.pid, os.WNOHANG)
        return any(each.running for each in others)

    def memory_mib(self, limit: float | None) -> float | None:
        members = self._members()
        resident = sum(each.resident_pages for each in members) * self._page_mib
        now = time.monotonic()
        over = limit is not None and resident > limit
        if over or now - self._exact_at >= _PSS_SECONDS:
            self._exact_at = now
            self._exact = sum(self._proportional(each) for each in members)
        return self._exact

    def _proportional(self, process: _Process) -> float:
        """Read /proc/PID/smaps_rollup, proc(5); resident memory where the kernel has no such."""
        try:
            rollup = (_PROC / str(process.pid) / "smaps_rollup").read_bytes()
            line = next(line for line in rollup.splitlines() if line.startswith(b"Pss:"))
            return int(line.split()[1]) / 1024
        except (OSError, ValueError, IndexError, StopIteration):
            return process.resident_pages * self._page_mib

    def send(self, number: int) -> None:
        super().send(number)
        reached: set[int] = set()
        until = time.monotonic() + _STARTING_SECONDS
        while True:
            for each in self._members():
                if each.group != self.leader and each.pid not in reached:
                    reached.add(each.pid)
                    with contextlib.suppress(OSError):
                        os.kill(each.pid, number)
            if not self._starting or time.monotonic() > until:
                return
            time.sleep(_STARTING_SECONDS / 100)

    def _members(self) -> list[_Process]:
        now, self._starting = set(_pids()), False
        self._foreign &= now  # a number that was given back may come to mean one of ours
        found = (_process(pid) for pid in sorted(now - self._foreign))
        return [each for each in found if each is not None and self._is_ours(each)]

    def _is_ours(self, process: _Process) -> bool:
        if self.leader in (process.pid, process.group, process.session):
            return True
        if process.pid in self._strays:
            return True
        try:
            environment = (_PROC / str(process.pid) / "environ").read_bytes()
        except OSError:  # another user's, or gone
            return False
        if self._mark in environment.split(b"\0"):
            self._strays.add(process.pid)
            return True
        if environment:
            self._foreign.add(process.pid)
        elif process.running and process.parent == os.getpid():
            self._starting = True  # between two programs, a moment without: to be asked again
        return False


def runs(pid: int) -> bool:
    """Whether a process of this number is there and has not ended."""
    found = _process(pid)
    return found is not None and found.running


def _pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir(_PROC) if name.isdigit()]  # noqa: PTH208 - often
    except OSError:
        return []


def _process(pid: int) -> _Process | None:
    """Read /proc/PID/stat, proc_pid_stat(5); the name in parentheses may hold anything."""
    try:
        fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        parent, group, session = (int(field) for field in fields[1:4])
        return _Process(pid, parent, group, session, fields[0] not in b"ZX", int(fields[21]))
    except (OSError, ValueError, IndexError):
        return None
