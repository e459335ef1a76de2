"""CUDA fat binaries: which SMs have machine code (cubin) and which have PTX.

The linker puts the fat binaries of all translation units into one section, each aligned to 8
bytes. A fat binary is a 16-byte header (magic 0xBA55ED50, version u16, header size u16, size of
what follows u64) and entries, each with a header of its own (kind u16, version u16, header size
u32, payload size u64, ... , minor and major version u16 each at byte 24, SM u32 at byte 28). Of PTX
the versions are those of the PTX ISA (its ``.version``). Flags, u64 at byte 40, mark code that runs
on exactly its SM (``sm_90a``) or within its family (``sm_100f``), as CUDA 13.0's ``fatbinary``
writes them; where a toolkit does not, such code is listed under its number. Only headers are read;
payloads are skipped.

The layout is not documented by NVIDIA; it was read off the bytes of released libraries and agrees
with what ``cuobjdump --list-elf --list-ptx`` says of them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qdoctor.binaries.errors import UnreadableBinary

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qdoctor.binaries.window import Window

MAGIC = 0xBA55ED50
_START = struct.pack("<I", MAGIC)
# Linked code, and code still to be linked: from the PTX there, the driver links for newer GPUs.
SECTIONS = (".nv_fatbin", "__nv_relfatbin")
PTX, CUBIN = 1, 2
_HEADER = struct.Struct("<IHHQ")
_ENTRY = struct.Struct("<HHIQ8xHHI8xQ")
_ONLY = {0x100000: "a", 0x200000: "f"}  # flags -> what a compiler appends to the SM
_ALIGNMENT = 8
_LONGEST_GAP = 4096  # zero bytes that a linker may leave between two fat binaries
_MOST_ENTRIES = 200_000


@dataclass(frozen=True)
class Entry:
    """One code object: ``kind`` PTX or CUBIN, ``sm`` such as 70, payload ``size`` in bytes.

    ``version`` is (major, minor): the PTX ISA of PTX, the layout's own of machine code; ``only`` is
    ``a`` for code of exactly this SM, ``f`` for its family's, else ``""``.
    """

    kind: int
    sm: int
    size: int
    version: tuple[int, int] = (0, 0)
    only: str = ""

    @property
    def name(self) -> str:
        """The SM as compilers name it: ``sm_90``, ``sm_90a``."""
        return f"sm_{self.sm}{self.only}"


def entries(file: Window, sections: Iterable[tuple[int, int]]) -> list[Entry]:
    """Read the headers of all code objects in ``sections``: (offset, length) in bytes.

    Raises ``UnreadableBinary`` where a header or a size does not fit its section.
    """
    found: list[Entry] = []
    seen = 0  # fat binaries: one may hold no code object
    for start, length in sections:
        end = start + length
        if start < 0 or end > file.length:
            raise UnreadableBinary(f"the fatbin section ends at {end}, the file at {file.length}")
        at = _next_fatbin(file, start, start, end)
        while at is not None:
            body, after = _fatbin(file, at, end)
            _walk(file, body, after, found)
            seen += 1
            if seen > _MOST_ENTRIES:
                raise UnreadableBinary(f"more than {_MOST_ENTRIES} fat binaries")
            at = _next_fatbin(file, start, after, end)
    return found


def _fatbin(file: Window, at: int, end: int) -> tuple[int, int]:
    """Give the first byte after the header at ``at``, and the first after the fat binary."""
    magic, _version, header, size = _HEADER.unpack(file.read_at(at, _HEADER.size, "a fatbin"))
    if magic != MAGIC:
        raise UnreadableBinary(f"no fatbin at offset {at}: magic {magic:#010x}")
    if header < _HEADER.size or at + header + size > end:
        raise UnreadableBinary(f"the fatbin at offset {at} claims {size} bytes, beyond its section")
    return at + header, at + header + size


def _walk(file: Window, at: int, end: int, found: list[Entry]) -> None:
    """Add the entries between ``at`` and ``end`` to ``found``."""
    while at + _ENTRY.size <= end:
        data = file.read_at(at, _ENTRY.size, "an entry")
        kind, _version, header, size, minor, major, sm, flags = _ENTRY.unpack(data)
        if header < _ENTRY.size or at + header + size > end:
            raise UnreadableBinary(f"the code object at offset {at} claims {size} bytes")
        only = next((_ONLY[one] for one in _ONLY if flags & one), "")
        found.append(Entry(kind, sm, size, (major, minor), only))
        if len(found) > _MOST_ENTRIES:
            raise UnreadableBinary(f"more than {_MOST_ENTRIES} code objects")
        at += header + size


def _next_fatbin(file: Window, start: int, at: int, end: int) -> int | None:
    """Skip the zero bytes between two fat binaries; None at the end of the section."""
    at += (start - at) % _ALIGNMENT
    if at + len(_START) <= end and file.read_at(at, len(_START), "a fatbin") == _START:
        return at
    gap = file.read_at(at, min(_LONGEST_GAP, end - at), "a gap") if at < end else b""
    filled = gap.lstrip(b"\0")
    if filled:
        at += len(gap) - len(filled)
        return at - (at - start) % _ALIGNMENT
    if end - at > len(gap):
        raise UnreadableBinary(f"{_LONGEST_GAP} zero bytes in the fatbin section at offset {at}")
    return None
