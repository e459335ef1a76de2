"""Bytes of native libraries -> SMs, PTX, what they need, what they export.

Runs no code of a library and reads headers only, from a path or from any seekable reader. Every
failure is ``UnreadableBinary``. Imports nothing of ours.
"""

from __future__ import annotations

from qdoctor.binaries.elf import Elf, read_elf
from qdoctor.binaries.errors import NotALibrary, UnreadableBinary
from qdoctor.binaries.exports import exported_symbols
from qdoctor.binaries.ld_cache import CachedLibrary, read_ld_cache
from qdoctor.binaries.library import Library, read_library

__all__ = [
    "CachedLibrary",
    "Elf",
    "Library",
    "NotALibrary",
    "UnreadableBinary",
    "exported_symbols",
    "read_elf",
    "read_ld_cache",
    "read_library",
]
