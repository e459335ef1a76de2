"""Writes kept answers, so that nobody ever sees half of one; see ``cache_reading``.

A file is written beside its place, brought to the disk, and linked or renamed into it. Nothing here
needs locks that work.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from qdoctor import cache
from qdoctor.choosing.cache_reading import FOLDER, FORMAT, Kept, checksum, why_not

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST = 128
"""Files that are kept, the latest written: a program asks one or two questions on each machine."""
_LEFTOVER_SECONDS = 3600.0


def write(path: str, text: str, kept: Kept, environ: Mapping[str, str], *, replace: bool) -> None:
    """Keep an answer; the first one written is the one that stays, unless ``replace``.

    Raises ``OSError`` or ``BadInput`` where there is no folder to keep it in.
    """
    folder = made(environ)
    temporary = os.path.join(
        folder, f".{os.path.basename(path)}.{os.getpid()}.{os.urandom(4).hex()}"
    )
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    handle = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(closed(text, kept))
            file.flush()
            os.fsync(file.fileno())
        _put(temporary, path, replace=replace)
    finally:
        _remove(temporary)
    _tidy(folder)


def made(environ: Mapping[str, str]) -> str:
    """Return the folder of kept answers, made for this user alone.

    Raises ``OSError`` or ``BadInput`` where it cannot be made, ``PermissionError`` where it is not
    this user's alone.
    """
    folder = os.path.join(os.fspath(cache.made_folder(environ)), FOLDER)
    if not os.path.lexists(folder):
        os.makedirs(folder, 0o700, exist_ok=True)  # another process may be as far
    for each in (os.path.dirname(folder), folder):
        if why := why_not(os.lstat(each), folder=True):
            raise PermissionError(13, f"the folder {why}", each)
    return folder


def closed(text: str, kept: Kept) -> bytes:
    """Return the bytes of a file, which ``cache_reading.opened`` reads."""
    key = text.encode("utf-8", "surrogateescape")
    told = f"{kept.until:.0f} {kept.budget!r} {len(key)} {kept.selected or '-'}\n".encode()
    rest = told + key + kept.body
    return b"%s %016x %d\n" % (FORMAT, checksum(rest), len(rest)) + rest


def _put(temporary: str, path: str, *, replace: bool) -> None:
    """Give the finished file its name; without ``replace`` one that is already there stays."""
    if not replace and hasattr(os, "link"):
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
        except OSError:  # a file system without hard links: the last one written stays then
            pass
        else:
            return
    os.replace(temporary, path)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _tidy(folder: str) -> None:
    """Keep the latest files, and nothing that a killed process left half written."""
    now, kept = time.time(), []
    for entry in os.scandir(folder):
        try:
            written = entry.stat(follow_symlinks=False).st_mtime
        except OSError:
            continue
        if not entry.name.startswith("."):
            kept.append((written, entry.path))
        elif now - written > _LEFTOVER_SECONDS:
            _remove(entry.path)
    for _, path in sorted(kept)[:-_MOST]:
        _remove(path)
