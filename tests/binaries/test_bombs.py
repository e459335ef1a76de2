"""Small files whose tables point at one another so often that reading them would never end."""

from __future__ import annotations

import io
import struct

import pytest

from qdoctor.binaries import UnreadableBinary, fatbin, read_elf
from qdoctor.binaries.window import Window

EMPTY = struct.pack("<IHHQ", 0xBA55ED50, 1, 16, 0)
"""A fat binary without any code object."""


def library(tags: list[tuple[int, int]], strings: bytes, versions: bytes = b"") -> bytes:
    """Make a library of a dynamic table; the address of ``versions`` is its offset, 64 + 3 * 56."""
    at_strings = 64 + 3 * 56 + len(versions)
    every = [*tags, (5, at_strings), (10, len(strings)), (0, 0)]
    table = b"".join(struct.pack("<QQ", *tag) for tag in every)
    at_table = at_strings + len(strings)
    whole = at_table + len(table)
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 3, 64, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, whole, whole, 8)
    dynamic = struct.pack("<IIQQQQQQ", 2, 6, at_table, at_table, 0, len(table), len(table), 8)
    return head + load + dynamic + dynamic + versions + strings + table


def test_fat_binaries_that_hold_nothing_are_counted_too() -> None:
    data = EMPTY * 200_001
    with pytest.raises(UnreadableBinary, match="more than 200000 fat binaries"):
        fatbin.entries(Window(io.BytesIO(data)), [(0, len(data))])


def test_sections_over_one_another_are_counted_together() -> None:
    data = EMPTY * 50_001
    sections = [(0, len(data))] * 4
    assert fatbin.entries(Window(io.BytesIO(data)), sections[:1]) == []
    with pytest.raises(UnreadableBinary, match="more than 200000 fat binaries"):
        fatbin.entries(Window(io.BytesIO(data)), sections)


def test_names_over_one_another_are_counted_together() -> None:
    strings = b"\0" + b"a" * 60_000 + b"\0"
    tags = [(1, at) for at in range(1, 1000)]
    with pytest.raises(UnreadableBinary, match="bytes of names"):
        read_elf(io.BytesIO(library(tags, strings)))
    assert len(read_elf(io.BytesIO(library(tags[:10], strings))).needs) == 10


def test_lists_of_versions_over_one_another_are_counted_together() -> None:
    count = 600
    libraries = b"".join(
        struct.pack("<HHIII", 1, count, 1, (count - number) * 16, 16) for number in range(count)
    )
    shared = struct.pack("<IHHII", 0, 0, 2, 1, 16) * count
    tags = [(0x6FFFFFFE, 64 + 3 * 56), (0x6FFFFFFF, count)]
    with pytest.raises(UnreadableBinary, match="more than 65536 symbol versions"):
        read_elf(io.BytesIO(library(tags, b"\0GLIBC_2.34\0", libraries + shared)))


def test_a_second_dynamic_table_is_not_read() -> None:
    found = read_elf(io.BytesIO(library([(1, 1)], b"\0liba.so\0")))
    assert found.needs == ("liba.so",)
