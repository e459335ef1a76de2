"""The loader's cache: real layouts, made byte by byte, and damaged ones."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from qdoctor.binaries import CachedLibrary, read_ld_cache


def cache(*entries: tuple[str, str, int], before: bytes = b"") -> bytes:
    """Make a cache of (name, path, hardware capabilities), behind an older table if any."""
    head = 48 + 24 * len(entries)
    strings, table = b"", b""
    for name, path, capabilities in entries:
        places = []
        for text in (name, path):
            places.append(head + len(strings))
            strings += text.encode() + b"\0"
        table += struct.pack("=iIIIQ", 0x303, *places, 0, capabilities)
    header = struct.pack("=20sII", b"glibc-ld.so.cache1.1", len(entries), len(strings))
    return before + header.ljust(48, b"\0") + table + strings


TWO = cache(("libcuda.so.1", "/usr/lib/libcuda.so.1", 0), ("libz.so.1", "/lib/libz.so.1", 1 << 62))


def test_entries_come_in_their_order() -> None:
    assert read_ld_cache(TWO) == [
        CachedLibrary("libcuda.so.1", "/usr/lib/libcuda.so.1"),
        CachedLibrary("libz.so.1", "/lib/libz.so.1", special=True),
    ]


def test_an_older_table_before_it_is_skipped() -> None:
    behind = cache(("libz.so.1", "/lib/libz.so.1", 0), before=b"ld.so-1.7.0\0" + bytes(36))
    assert read_ld_cache(behind) == [CachedLibrary("libz.so.1", "/lib/libz.so.1")]


def test_what_is_no_cache_holds_nothing() -> None:
    assert read_ld_cache(b"") == read_ld_cache(b"ld.so-1.7.0") == read_ld_cache(TWO[:40]) == []


def test_a_count_beyond_the_file_is_not_believed() -> None:
    lying = bytearray(TWO)
    struct.pack_into("=I", lying, 20, 2**32 - 1)
    assert len(read_ld_cache(bytes(lying))) <= len(TWO) // 24


@given(at=st.integers(0, len(TWO) - 1), byte=st.integers(0, 255), keep=st.integers(0, len(TWO)))
def test_any_damage_is_survived(at: int, byte: int, keep: int) -> None:
    damaged = bytearray(TWO)
    damaged[at] = byte
    for entry in read_ld_cache(bytes(damaged[:keep])):
        assert entry.name
        assert entry.path


@given(st.binary(max_size=400))
def test_any_bytes_are_survived(data: bytes) -> None:
    read_ld_cache(b"glibc-ld.so.cache1.1" + data)
