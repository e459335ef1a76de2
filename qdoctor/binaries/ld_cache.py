"""The dynamic loader's cache, ``/etc/ld.so.cache``: which file each soname leads to.

The layout is that of glibc's ``sysdeps/generic/dl-cache.h``, the format since 2.2; older systems
have it behind a table of the format before.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER = struct.Struct("=20sII")  # magic, number of entries, length of strings
_HEADER_BYTES = 48
_ENTRY = struct.Struct("=iIIIQ")  # flags, name, path, os version, hardware capabilities


@dataclass(frozen=True)
class CachedLibrary:
    """One line of the cache: what is asked for, and the file; ``special``: for some CPUs only."""

    name: str
    path: str
    special: bool = False


def read_ld_cache(data: bytes) -> list[CachedLibrary]:
    """List the cache's entries in its order; none of a cache that is damaged or of no such format.

    An entry whose strings lie outside of the file is left out.
    """
    start = data.find(_MAGIC)
    if start < 0 or len(data) < start + _HEADER_BYTES:
        return []
    _, count, _ = _HEADER.unpack_from(data, start)
    first = start + _HEADER_BYTES
    whole = min(count, (len(data) - first) // _ENTRY.size) * _ENTRY.size
    found = []
    for _, name, path, _, capabilities in _ENTRY.iter_unpack(data[first : first + whole]):
        asked, file = _string(data, start + name), _string(data, start + path)
        if asked and file:
            found.append(CachedLibrary(asked, file, bool(capabilities)))
    return found


def _string(data: bytes, at: int) -> str:
    end = data.find(b"\0", at)
    return data[at:end].decode("utf-8", "replace") if end >= 0 else ""
