"""What was read from installed files, kept by file stamp: reading one takes milliseconds.

A cache is one file of the cache folder. One that is broken, that somebody else owns or may write
to is not believed; where none can be written, everything is read each time.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from qdoctor import cache
from qdoctor.model import BadInput, NativeLibrary, Noun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

FILE = "libraries-1.json"
"""The number changes with what is read from a library, or how."""
_THREADS = 16  # they wait for the disk, mostly
_WORTH_THREADS = 32
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

    def prefetch(self, paths: Iterable[Path | str]) -> None:
        """Read side by side what is not remembered: a disk that is asked for much answers sooner.

        What cannot be read is left to ``read``, which raises it.
        """
        unknown = [
            one for one in dict.fromkeys(os.fspath(path) for path in paths) if self._is_news(one)
        ]
        if len(unknown) < _WORTH_THREADS:
            return
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - a first look only

        with ThreadPoolExecutor(_THREADS) as pool:
            for path, entry in zip(unknown, pool.map(self._attempt, unknown), strict=True):
                if entry is not None:
                    self._known[path] = entry
                    self._news = True

    def _is_news(self, path: str) -> bool:
        try:
            stamp = stamp_of(os.stat(path))  # noqa: PTH116 - paths are text here
        except (OSError, ValueError):
            return False
        entry = self._known.get(path)
        return entry is None or entry.stamp != stamp

    def _attempt(self, path: str) -> _Entry[Held] | None:
        try:
            stamp = stamp_of(os.stat(path))  # noqa: PTH116 - paths are text here
            return _Entry(stamp, self._read(Path(path)))
        except Exception:  # noqa: BLE001 - whatever it is, read() will raise it again
            return None

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
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(name).replace(folder / self._file)
        except (OSError, BadInput, UnicodeEncodeError):  # the last: a path that is no UTF-8
            return


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
