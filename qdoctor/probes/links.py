"""The processes of the zygote: which there are, what each has imported, whether it is of use."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

UNFIT = 97
"""Exit status of a forked child that found itself unlike a fresh interpreter (_forked.UNFIT)."""

_STDERR = 2
_CHAIN = ("torch", "triton")
_LEAVES = ("bitsandbytes", "torchao")


class Link:
    """One process of the zygote: ``why`` is set when it is of no use."""

    def __init__(self, package: str, after: int | None) -> None:
        """``after`` is the number of the link that it follows."""
        self.package, self.after = package, after
        self.pid: int | None = None  # while the process is there
        self.session: int | None = None  # of the zygote, which every link stays in
        self.since = time.monotonic()
        self.ready = False
        self.why = ""
        self.seconds: float | None = None
        self.silent_since: float | None = None
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.theirs = _beyond_streams(theirs)
        self.forked: dict[str, int] = {}
        self.ended: dict[int, int | None] = {}

    @property
    def open(self) -> bool:
        """Whether anything may still be heard from it."""
        return self.socket.fileno() >= 0

    def fall_silent(self) -> None:
        """Take note that it ended; why, the process before it may be about to tell."""
        self.silent_since, self.ready = time.monotonic(), False
        self.socket.close()

    def lose(self, why: str) -> None:
        """Give it up; the first reason stays."""
        self.why, self.ready = self.why or why, False
        self.socket.close()
        if self.pid is not None:
            with contextlib.suppress(OSError):
                if os.getsid(self.pid) == self.session:  # else it ended, and that is somebody else
                    os.kill(self.pid, signal.SIGKILL)


def _beyond_streams(theirs: socket.socket) -> socket.socket:
    """Give it a number that is no standard stream's: where ours are closed, it may have got one."""
    if theirs.fileno() > _STDERR:
        return theirs
    import fcntl  # noqa: PLC0415 - POSIX only

    with theirs:
        return socket.socket(fileno=fcntl.fcntl(theirs, fcntl.F_DUPFD_CLOEXEC, _STDERR + 1))


def tree(wanted: Iterable[Sequence[str]]) -> list[tuple[str, int | None]]:
    """Packages to import, each with the number of the one it follows.

    torch and triton follow one another; what builds on them follows both, each on its own, so that
    a slow or broken one keeps nobody waiting.
    """
    named = {package for imports in wanted for package in imports}
    chain = [package for package in _CHAIN if package in named] or [_CHAIN[0]]
    links: list[tuple[str, int | None]] = [
        (package, number - 1 if number else None) for number, package in enumerate(chain)
    ]
    return links + [(package, len(chain) - 1) for package in _LEAVES if package in named]


def link_for(links: Sequence[Link], imports: Sequence[str]) -> Link:
    """The link that has imported most of what a probe wants, and no more than it must."""
    leaves = [link for link in links if link.package in _LEAVES]
    chain = [link for link in links if link.package in _CHAIN]
    wanted = [link for link in (*leaves, *reversed(chain)) if link.package in imports]
    return wanted[0] if wanted else chain[-1]


def failing(link: Link, how: str) -> str:
    """Why a link is of no use, in words for people."""
    return f"importing {link.package} once for all probes {how}"
