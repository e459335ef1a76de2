"""Kept answers: one file for each key in the cache folder's ``selections``.

A file is a line with a checksum of all that follows, a line that says until when it may be believed
and what it selects, the key itself, and the selection as JSON. What is not whole, not of this user,
or open to others is not believed. ``cache_writing`` writes them.
"""

from __future__ import annotations

import os
import stat
import time

from qdoctor import cache
from qdoctor.choosing.notice import say_once

TYPE_CHECKING = False  # as typing's, without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = "selections"
FORMAT = b"qdoctor-selection-1"
_PRIME = 2**61 - 31
_LARGEST = 1 << 20  # bytes of one file
_LONGEST_SECONDS = 2 * 86400.0  # that anything is kept for; more comes of a clock that was wrong
_ADVICE = "it is not used; delete it (qdoctor cache clear), or name another QDOCTOR_CACHE_DIR"


class Kept:
    """One answer: ``selected`` names the backend, ``body`` is the selection's JSON.

    ``until`` is the time (seconds since 1970) from which on it is not believed any more, 0.0 for
    never: what was decided because something was in the way is not decided for good. ``budget`` is
    how many seconds its measurement could have, 0.0 where it came to its end.
    """

    __slots__ = ("body", "budget", "selected", "until")

    def __init__(
        self, selected: str | None, body: bytes, *, until: float = 0.0, budget: float = 0.0
    ) -> None:
        """See the class."""
        self.selected, self.body, self.until, self.budget = selected, body, until, budget

    def serves(self, budget: float) -> bool:
        """Say whether it still holds, for who would give a measurement ``budget`` seconds."""
        if self.until and not self.until - _LONGEST_SECONDS < time.time() < self.until:
            return False
        return self.budget == 0.0 or self.budget >= budget


def place(text: str, environ: Mapping[str, str]) -> str:
    """Return the file for a key; the folder may not exist."""
    name = f"{checksum(text.encode('utf-8', 'surrogateescape')):016x}"
    return os.path.join(cache.location(environ), FOLDER, name)


def checksum(data: bytes) -> int:
    """Return the bytes, read as one number, modulo a prime: any burst of 60 bits changes it.

    Against damage, not against malice. The modules that have better ones are shared libraries,
    whose loading takes longer than all else here.
    """
    return (int.from_bytes(data, "little") * 257 + len(data)) % _PRIME


def read(path: str, text: str) -> Kept | None:
    """Return what is kept for the key ``text``; None where nothing is that can be believed."""
    try:
        data = _bytes_there_now(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        say_once(f"the kept selection {path} cannot be read: {error.strerror or error}")
        return None
    if isinstance(data, str):
        say_once(f"the kept selection {path} {data}: {_ADVICE}")
        return None
    found = opened(data)
    if found is None:
        say_once(f"the kept selection {path} is damaged: {_ADVICE}")
        return None
    key, kept = found
    return kept if key == text.encode("utf-8", "surrogateescape") else None


def _bytes_there_now(path: str) -> bytes | str:
    """Read a file; once more where another host of a network file system has just replaced it."""
    try:
        return _bytes(path)
    except OSError as error:
        import errno  # noqa: PLC0415 - only where something is wrong

        if error.errno != getattr(errno, "ESTALE", None):
            raise
    return _bytes(path)


def _bytes(path: str) -> bytes | str:
    """Read a file that nobody else can have written, or say why it is not to be believed."""
    folder = os.path.dirname(path)
    for each in (os.path.dirname(folder), folder):
        if why := why_not(os.lstat(each), folder=True):
            return f"lies in a folder that {why}"
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if why := why_not(os.lstat(path), folder=False):
        return why
    handle = os.open(path, flags | getattr(os, "O_BINARY", 0))
    try:
        if why := why_not(os.fstat(handle), folder=False):
            return why
        data = b""
        while len(data) <= _LARGEST and (chunk := os.read(handle, _LARGEST + 1 - len(data))):
            data += chunk
    finally:
        os.close(handle)
    return data if len(data) <= _LARGEST else "is too large"


def why_not(status: os.stat_result, *, folder: bool) -> str:
    """Say why a file or folder is not this user's alone; ``""`` where it is, always on Windows."""
    if stat.S_ISLNK(status.st_mode):
        return "is a symbolic link"
    if not (stat.S_ISDIR if folder else stat.S_ISREG)(status.st_mode):
        return "is no folder" if folder else "is no regular file"
    if not hasattr(os, "geteuid"):
        return ""
    if status.st_uid != os.geteuid():
        return f"belongs to another user (uid {status.st_uid})"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others may write to (mode {stat.S_IMODE(status.st_mode):o}; chmod go-w mends it)"
    return ""


def opened(data: bytes) -> tuple[bytes, Kept] | None:
    """Return the key and the answer; None for what ``cache_writing.closed`` did not write."""
    head, _, rest = data.partition(b"\n")
    if head != b"%s %016x %d" % (FORMAT, checksum(rest), len(rest)):
        return None
    told, _, after = rest.partition(b"\n")
    until, budget, length, selected = told.decode().split(" ")
    key, body = after[: int(length)], after[int(length) :]
    chosen = None if selected == "-" else selected
    return key, Kept(chosen, body, until=float(until), budget=float(budget))
