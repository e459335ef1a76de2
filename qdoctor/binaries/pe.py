"""Windows libraries (PE): which DLLs they import, and where their fat binaries lie.

Layout: Microsoft, "PE Format" (learn.microsoft.com/windows/win32/debug/pe-format).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from qdoctor.binaries.errors import UnreadableBinary
from qdoctor.binaries.fatbin import SECTIONS
from qdoctor.binaries.window import Source, Window, opened

MAGIC = b"MZ"
_MACHINES = {0x8664: "x86_64", 0xAA64: "arm64", 0x014C: "x86"}
_COFF = struct.Struct("<4sHH12xHH")  # signature, machine, sections, optional header size, flags
_SECTION = struct.Struct("<8sIIII16x")  # name, virtual size, virtual address, size, offset
_IMPORT = struct.Struct("<12xII")  # of an import descriptor: name, first thunk
_DIRECTORIES = {0x10B: 96, 0x20B: 112}  # optional header magic -> offset of its data directories
_MOST = 4096
_FATBINS = tuple(name[:8] for name in SECTIONS)  # PE cuts section names to 8 characters


@dataclass(frozen=True)
class Pe:
    """``needs``: imported DLLs in order; ``fatbins``: (offset, length) in bytes."""

    machine: str
    needs: tuple[str, ...]
    fatbins: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Section:
    name: str
    address: int
    size: int
    offset: int


def read_pe(source: Source) -> Pe:
    """Read what a DLL needs. Raises ``UnreadableBinary`` for what is not a sound PE file."""
    with opened(source) as file:
        (start,) = struct.unpack("<I", file.read_at(0x3C, 4, "the PE offset"))
        coff = _COFF.unpack(file.read_at(start, _COFF.size, "the PE header"))
        signature, machine, count, optional, _flags = coff
        if signature != b"PE\0\0" or count > _MOST:
            raise UnreadableBinary("no PE header")
        header = start + _COFF.size
        sections = [_section(file, header + optional + 40 * number) for number in range(count)]
        return Pe(
            machine=_MACHINES.get(machine, f"{machine:#06x}"),
            needs=tuple(_imports(file, header, optional, sections)),
            fatbins=tuple((s.offset, s.size) for s in sections if s.name in _FATBINS),
        )


def _section(file: Window, at: int) -> _Section:
    name, virtual, address, size, offset = _SECTION.unpack(
        file.read_at(at, _SECTION.size, "a section header"),
    )
    # Raw data is padded to the file alignment: the virtual size is the true one where smaller.
    return _Section(
        name.rstrip(b"\0").decode("latin-1"), address, min(size, virtual or size), offset
    )


def _imports(file: Window, header: int, optional: int, sections: list[_Section]) -> list[str]:
    """Names in the import directory, the second of the optional header's data directories."""
    (magic,) = struct.unpack("<H", file.read_at(header, 2, "the optional header"))
    at = _DIRECTORIES.get(magic, optional) + 8
    if at + 8 > optional:
        return []
    address, size = struct.unpack("<II", file.read_at(header + at, 8, "the import directory"))
    names: list[str] = []
    while address and size and len(names) < _MOST:
        where = _offset(sections, address + _IMPORT.size * len(names))
        name, thunk = _IMPORT.unpack(file.read_at(where, _IMPORT.size, "an import"))
        if not name or not thunk:
            break
        names.append(_text(file, _offset(sections, name)))
    return names


def _offset(sections: list[_Section], address: int) -> int:
    for section in sections:
        if section.address <= address < section.address + section.size:
            return address - section.address + section.offset
    raise UnreadableBinary(f"no section holds the address {address:#x}")


def _text(file: Window, at: int) -> str:
    file.seek(at)
    return file.read(256).split(b"\0")[0].decode("latin-1")
