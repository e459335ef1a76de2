"""Small ELF libraries, byte by byte: what a loader and an inspection read, and no code."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_DYNAMIC_TAGS = {"needs": 1, "soname": 14, "rpath": 15, "runpath": 29}


def elf(
    needs: tuple[str, ...] = (),
    *,
    soname: str = "",
    rpath: str = "",
    runpath: str = "",
    fatbin: bytes = b"",
) -> bytes:
    """Make a 64-bit x86 library: one segment, a dynamic table, a section for GPU code if any."""
    strings = b"\0"
    tags: list[tuple[int, int]] = []
    named = [*(("needs", one) for one in needs), ("soname", soname)]
    for kind, text in [*named, ("rpath", rpath), ("runpath", runpath)]:
        if text:
            tags.append((_DYNAMIC_TAGS[kind], len(strings)))
            strings += text.encode() + b"\0"
    at_strings = 64 + 2 * 56
    at_table = at_strings + len(strings)
    tags += [(5, at_strings), (10, len(strings)), (0, 0)]
    table = b"".join(struct.pack("<QQ", *tag) for tag in tags)
    at_code = at_table + len(table) + (-(at_table + len(table))) % 8
    names = b"\0.nv_fatbin\0.shstrtab\0"
    at_names = at_code + len(fatbin)
    at_sections = at_names + len(names)
    whole = at_sections + 3 * 64
    segments = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, whole, whole, 0x1000)
    segments += struct.pack("<IIQQQQQQ", 2, 6, at_table, at_table, 0, len(table), len(table), 8)
    sections = bytes(64)
    sections += struct.pack("<IIQQQQIIQQ", 1, 1, 2, 0, at_code, len(fatbin), 0, 0, 8, 0)
    sections += struct.pack("<IIQQQQIIQQ", 12, 3, 0, 0, at_names, len(names), 0, 0, 1, 0)
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, at_sections, 0, 64, 56, 2, 64, 3, 2
    )
    body = head + segments + strings + table
    return body.ljust(at_code, b"\0") + fatbin + names + sections


def code(*entries: tuple[int, int]) -> bytes:
    """Make a fat binary of (kind, SM) entries: kind 1 is PTX (of ISA 8.7), 2 machine code."""
    body = b"".join(
        struct.pack("<HHIQIIHHIIIQ", kind, 0x101, 64, 8, 0, 0, 7, 8, sm, 0, 0, 0).ljust(64, b"\0")
        + bytes(8)
        for kind, sm in entries
    )
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def write(path: Path, content: bytes) -> Path:
    """Put a file where it belongs, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
