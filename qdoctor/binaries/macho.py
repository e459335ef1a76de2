"""macOS libraries (Mach-O, 64 bit, one architecture): which dylibs they load.

Layout: Apple, ``mach-o/loader.h``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from qdoctor.binaries.errors import UnreadableBinary
from qdoctor.binaries.window import Source, opened

MAGICS = (b"\xcf\xfa\xed\xfe",)
_MACHINES = {0x0100000C: "arm64", 0x01000007: "x86_64"}
_LOADS = (0x0C, 0x80000018, 0x8000001F)  # LC_LOAD_DYLIB, LC_LOAD_WEAK_DYLIB, LC_REEXPORT_DYLIB
_HEADER = struct.Struct("<4xi8xII8x")  # machine, number and bytes of load commands
_LARGEST = 2**20


@dataclass(frozen=True)
class MachO:
    """``needs``: loaded dylibs in order, as written (``@rpath/...``)."""

    machine: str
    needs: tuple[str, ...]


def read_macho(source: Source) -> MachO:
    """Read what a dylib loads. Raises ``UnreadableBinary`` for what is not a sound Mach-O file."""
    with opened(source) as file:
        header = file.read_at(0, _HEADER.size, "the Mach-O header")
        machine, count, size = _HEADER.unpack(header)
        if size > _LARGEST:
            raise UnreadableBinary(f"the Mach-O header claims {size} bytes of load commands")
        commands = file.read_at(_HEADER.size, size, "the load commands")
    return MachO(_MACHINES.get(machine, f"{machine:#x}"), tuple(_loads(commands, count)))


def _loads(commands: bytes, count: int) -> list[str]:
    names: list[str] = []
    at = 0
    for _ in range(count):
        if at + 12 > len(commands):
            break
        kind, size, name = struct.unpack_from("<III", commands, at)
        if size < 8 or at + size > len(commands):  # noqa: PLR2004 - a command's own header
            raise UnreadableBinary(f"the load command at {at} claims {size} bytes")
        if kind in _LOADS:
            names.append(commands[at + name : at + size].split(b"\0")[0].decode("utf-8", "replace"))
        at += size
    return names
