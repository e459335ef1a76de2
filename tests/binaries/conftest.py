"""Native libraries made byte by byte, and the real ones of the test requirements."""

from __future__ import annotations

import struct
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

Entry = tuple[int, int, bytes]


def entry(kind: int, sm: int, payload: bytes) -> bytes:
    head = struct.pack("<HHIQIIHHI", kind, 0x101, 64, len(payload), 0, 0, 0, 0, sm)
    return head.ljust(64, b"\0") + payload


def fatbin(*entries: Entry) -> bytes:
    body = b"".join(entry(*each) for each in entries)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


@pytest.fixture
def make_fatbin() -> Callable[..., bytes]:
    """Give a maker of one fat binary from (kind, sm, payload) entries."""
    return fatbin


@pytest.fixture
def installed_library() -> Callable[[str, str], Path]:
    """Give a finder of a real library in an installed package; skips where it is not installed."""

    def find(package: str, member: str) -> Path:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            pytest.skip(f"{package} is not installed")
        found = sorted(Path(spec.origin).parent.glob(member))
        if not found:
            pytest.skip(f"the installed {package} has no {member}")
        return found[-1]

    return find


@pytest.fixture
def make_pe() -> Callable[..., bytes]:
    """Give a maker of a PE library: sections by name, and the DLLs that it imports."""

    def make(sections: dict[str, bytes], dlls: tuple[str, ...] = ()) -> bytes:
        imports, base = b"", 0x1000
        names = b""
        table = 20 * (len(dlls) + 1)
        for dll in dlls:
            imports += struct.pack("<IIIII", 0, 0, 0, base + table + len(names), 1)
            names += dll.encode() + b"\0"
        directory = imports + bytes(20) + names
        parts = {".idata": directory, **sections}
        optional = struct.pack("<H", 0x20B).ljust(112, b"\0")
        optional += struct.pack("<IIII", 0, 0, base if dlls else 0, len(directory) if dlls else 0)
        headers = 0x40 + 24 + len(optional) + 40 * len(parts)
        table_bytes, bodies, offset = b"", b"", headers
        for number, (name, body) in enumerate(parts.items()):
            address = base * (number + 1)
            sizes = struct.pack("<IIII", len(body), address, len(body), offset)
            table_bytes += name.encode()[:8].ljust(8, b"\0") + sizes + bytes(16)
            bodies += body
            offset += len(body)
        coff = struct.pack("<4sHH12xHH", b"PE\0\0", 0x8664, len(parts), len(optional), 0x2022)
        dos = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40)
        return dos + coff + optional + table_bytes + bodies

    return make
