"""What was read from installed files, kept by file stamp: reading one takes milliseconds.

A cache is one file of the cache folder. One that is broken, that somebody else owns or may write
to is not believed; where none can be written, everything is read each time.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from qdoctor import cache
from qdoctor.model import BadInput, NativeLibrary, Noun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

FILE = "libraries-1.json"
"""The number changes with what is read from a library, or how."""
_SMALL, _HEAD, _TAIL = 2**18, 2**14, 2**16  # bytes at a library's ends that hold its headers
_MOST = 4096
"""Entries of one cache, the latest asked for: some 1500 libraries lie in a large environment."""

Held = TypeVar("Held", bound=Noun)
Stamp = tuple[int, int, int]


class _Entry(msgspec.Struct, Generic[Held], frozen=True):
    stamp: Stamp
    library: Held


class Inspections(Generic[Held]):
    """Reads libraries, or remembers what an unchanged file held."""

    def __init__(
        self,
        read: Callable[[Path], Held],
        environ: Mapping[str, str],
        *,
        file: str = FILE,
        kind: type[Any] = NativeLibrary,
    ) -> None:
        """``read`` opens a library; ``environ`` names the cache folder.

        ``file`` is the name of the cache and ``kind`` the noun it holds, which ``read`` returns.
        """
        self._read = read
        self._environ = environ
        self._file = file
        self._known: dict[str, _Entry[Held]] = _load(cache.folder(environ) / file, kind)
        self._news = False

    def read(self, path: Path | str) -> Held:
        """Return what a library holds. Raises what reading it raises.

        ``path`` is remembered as it stands: resolving a link costs ten times what asking for the
        file's stamp does, and the stamp is of the file that it leads to.
        """
        key, stamp = os.fspath(path), stamp_of(os.stat(path))  # noqa: PTH116 - a str is a path too
        entry = self._known.pop(key, None)
        if entry is None or entry.stamp != stamp:
            entry = _Entry(stamp, self._read(Path(path)))
            self._news = True
        self._known[key] = entry  # the latest asked for stands last
        return entry.library

    @property
    def is_empty(self) -> bool:
        """Whether nothing is remembered at all: the first look at this machine."""
        return not self._known

    def announce(self, paths: Iterable[Path | str]) -> None:
        """Tell the system which files are about to be read, so that the disk is asked at once.

        Only their beginnings and ends, where a library's headers lie; small ones whole. Reading
        side by side instead costs more than it saves: headers are many small reads.
        """
        if not hasattr(os, "posix_fadvise"):
            return
        for path in dict.fromkeys(os.fspath(path) for path in paths):
            with suppress(OSError, ValueError):
                _will_need(path)

    def forget(self, path: Path | str) -> None:
        """Have a file read anew: what it told of depends on more than the file itself."""
        self._known.pop(os.fspath(path), None)

    def keep(self) -> None:
        """Write what is new, whole or not at all; a cache that cannot be written is no failure."""
        if not self._news:
            return
        latest = dict(list(self._known.items())[-_MOST:])
        try:
            data = msgspec.json.encode(latest)
            folder = cache.made_folder(self._environ)
            handle, name = tempfile.mkstemp(dir=folder, prefix=self._file)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                Path(name).replace(folder / self._file)
            finally:
                Path(name).unlink(missing_ok=True)  # where the disk is full
        except (OSError, BadInput, UnicodeEncodeError):  # the last: a path that is no UTF-8
            return


def _will_need(path: str) -> None:
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a FIFO must not wait
    try:
        size = os.fstat(number).st_size
        if size <= _SMALL:
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_WILLNEED)
            return
        os.posix_fadvise(number, 0, _HEAD, os.POSIX_FADV_WILLNEED)
        os.posix_fadvise(number, size - _TAIL, _TAIL, os.POSIX_FADV_WILLNEED)
    finally:
        os.close(number)


def _load(path: Path, kind: type[Any]) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            if not _ours(os.fstat(file.fileno())):
                return {}
            return msgspec.json.decode(file.read(), type=dict[str, _Entry[kind]])  # type: ignore[valid-type]
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _ours(status: os.stat_result) -> bool:
    """Say whether nobody but this user can have written the file; always so on Windows."""
    if not hasattr(os, "getuid"):
        return True
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def stamp_of(status: os.stat_result) -> Stamp:
    """Give what changes when a file is written or replaced: size, time of change, inode."""
    return status.st_size, status.st_mtime_ns, status.st_ino
