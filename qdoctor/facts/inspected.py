"""What was read from native libraries, kept by file stamp: reading one takes milliseconds.

The cache is one file of the cache folder. One that is broken, that somebody else owns or may write
to is not believed; where none can be written, libraries are read each time.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from qdoctor import cache
from qdoctor.model import BadInput, NativeLibrary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FILE = "libraries-1.json"
"""The number changes with what is read from a library, or how."""
_MOST = 512


class _Entry(msgspec.Struct, frozen=True):
    stamp: tuple[int, int, int]
    library: NativeLibrary


class Inspections:
    """Reads libraries, or remembers what an unchanged file held."""

    def __init__(self, read: Callable[[Path], NativeLibrary], environ: Mapping[str, str]) -> None:
        """``read`` opens a library; ``environ`` names the cache folder."""
        self._read = read
        self._environ = environ
        self._known = _load(cache.folder(environ) / FILE)
        self._news = False

    def read(self, path: Path) -> NativeLibrary:
        """Return what a library holds. Raises what reading it raises."""
        key, stamp = os.path.realpath(path), _stamp(path.stat())
        entry = self._known.pop(key, None)
        if entry is None or entry.stamp != stamp:
            entry = _Entry(stamp, self._read(path))
            self._news = True
        self._known[key] = entry  # the latest asked for stands last
        return entry.library

    def keep(self) -> None:
        """Write what is new, whole or not at all; a cache that cannot be written is no failure."""
        if not self._news:
            return
        latest = dict(list(self._known.items())[-_MOST:])
        try:
            folder = cache.made_folder(self._environ)
            handle, name = tempfile.mkstemp(dir=folder, prefix=FILE)
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.encode(latest))
            Path(name).replace(folder / FILE)
        except (OSError, BadInput):
            return


def _load(path: Path) -> dict[str, _Entry]:
    try:
        with path.open("rb") as file:
            if not _ours(os.fstat(file.fileno())):
                return {}
            return msgspec.json.decode(file.read(), type=dict[str, _Entry])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _ours(status: os.stat_result) -> bool:
    """Say whether nobody but this user can have written the file; always so on Windows."""
    if not hasattr(os, "getuid"):
        return True
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino
