"""The ELF reader against pyelftools on every library of this environment, and against lies."""

from __future__ import annotations

import io
import struct
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st

from qdoctor.binaries import Elf, UnreadableBinary, read_elf
from qdoctor.binaries.elf import highest

SITE = Path(sysconfig.get_path("platlib"))


def by_pyelftools(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        elf = ELFFile(file)
        tags = [
            (tag.entry.d_tag, tag)
            for segment in elf.iter_segments("PT_DYNAMIC")
            for tag in segment.iter_tags()
        ]
        needed: list[str] = []
        given_: list[str] = []
        for section in elf.iter_sections():
            if section["sh_type"] in {"SHT_GNU_verneed", "SHT_GNU_verdef"}:
                names = [one.name for _, more in section.iter_versions() for one in more]
                (needed if section["sh_type"] == "SHT_GNU_verneed" else given_).extend(names)
        folders = {
            kind: next(
                (tuple(getattr(tag, key).split(":")) for name, tag in tags if name == kind), None
            )
            for kind, key in (("DT_RPATH", "rpath"), ("DT_RUNPATH", "runpath"))
        }
        return {
            "needs": tuple(tag.needed for name, tag in tags if name == "DT_NEEDED"),
            "soname": next((tag.soname for name, tag in tags if name == "DT_SONAME"), ""),
            "rpath": folders["DT_RPATH"],
            "runpath": folders["DT_RUNPATH"],
            "glibc": highest(needed, "GLIBC"),
            "glibcxx": highest(needed, "GLIBCXX"),
            "glibcxx_given": highest(given_, "GLIBCXX"),
        }


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ELF's own systems")
def test_every_installed_library_agrees_with_pyelftools() -> None:
    compared = 0
    for path in [*sorted(SITE.rglob("*.so*")), *Path("/usr/lib").glob("*/libstdc++.so.6")]:
        try:
            found = read_elf(path)
        except UnreadableBinary:
            continue
        expected = by_pyelftools(path)
        assert {key: getattr(found, key) for key in expected} == expected, path
        compared += 1
    assert compared > 5


def small(order: str = "<", *, wide: bool = True) -> bytes:
    """Make a library of either class and byte order that needs ``liba.so`` under GLIBC_2.34."""
    strings = b"\0liba.so\0GLIBC_2.34\0/r:$ORIGIN\0libme.so.1\0"
    word, head = ("Q", 64) if wide else ("I", 52)
    segment = 56 if wide else 32
    at_strings = head + 2 * segment
    at_versions = at_strings + len(strings)
    versions = struct.pack(f"{order}HHIII", 1, 1, 1, 16, 0)
    versions += struct.pack(f"{order}IHHII", 0, 0, 2, 9, 0)
    at_table = at_versions + len(versions)
    tags = [
        *((1, 1), (14, 31), (29, 20), (5, at_strings), (10, len(strings))),
        *((0x6FFFFFFE, at_versions), (0x6FFFFFFF, 1), (0, 0)),
    ]
    table = b"".join(struct.pack(f"{order}{word}{word}", *tag) for tag in tags)
    whole = at_table + len(table)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    form = f"{order}HHI{word}{word}{word}IHHHHHH"
    header = struct.pack(form, 3, 62, 1, 0, head, 0, 0, head, segment, 2, 0, 0, 0)

    def part(kind: int, at: int, size: int) -> bytes:
        if wide:
            return struct.pack(f"{order}IIQQQQQQ", kind, 4, at, at, 0, size, size, 1)
        return struct.pack(f"{order}IIIIIIII", kind, at, at, 0, size, size, 4, 1)

    return (
        ident
        + header
        + part(1, 0, whole)
        + part(2, at_table, len(table))
        + strings
        + versions
        + table
    )


EXPECTED = Elf(
    machine="x86_64",
    needs=("liba.so",),
    glibc="2.34",
    glibcxx="",
    fatbins=(),
    soname="libme.so.1",
    runpath=("/r", "$ORIGIN"),
)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("wide", [True, False])
def test_both_classes_and_byte_orders(order: str, wide: bool) -> None:  # noqa: FBT001 - parametrized
    assert read_elf(io.BytesIO(small(order, wide=wide))) == EXPECTED


@settings(max_examples=300)
@given(
    changes=st.lists(st.tuples(st.integers(4, len(small()) - 1), st.integers(0, 255)), max_size=8),
    keep=st.integers(4, len(small())),
)
def test_any_damage_is_refused_or_read(changes: list[tuple[int, int]], keep: int) -> None:
    damaged = bytearray(small())
    for at, byte in changes:
        damaged[at] = byte
    try:
        found = read_elf(io.BytesIO(bytes(damaged[:keep])))
    except UnreadableBinary:
        return
    assert isinstance(found, Elf)


@pytest.mark.parametrize("field", ["phnum", "dynamic size", "verneed count", "name"])
def test_tables_that_never_end_are_refused_or_bounded(field: str) -> None:
    lying = bytearray(small())
    if field == "phnum":
        struct.pack_into("<H", lying, 56, 0xFFFF)
    elif field == "dynamic size":
        struct.pack_into("<Q", lying, 64 + 56 + 32, 2**60)
    elif field == "verneed count":
        at = bytes(lying).index(struct.pack("<Q", 0x6FFFFFFF))
        struct.pack_into("<Q", lying, at + 8, 2**60)
        assert read_elf(io.BytesIO(bytes(lying))) == EXPECTED  # the list itself says where it ends
        return
    else:
        at = bytes(lying).index(struct.pack("<QQ", 1, 1))
        struct.pack_into("<Q", lying, at + 8, 2**40)
    with pytest.raises(UnreadableBinary):
        read_elf(io.BytesIO(bytes(lying)))
