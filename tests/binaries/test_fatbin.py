from __future__ import annotations

import contextlib
import io
import re
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qdoctor.binaries import UnreadableBinary, fatbin, read_library
from qdoctor.binaries.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PTX, CUBIN = fatbin.PTX, fatbin.CUBIN


def read(data: bytes) -> list[tuple[int, int]]:
    found = fatbin.entries(Window(io.BytesIO(data)), [(0, len(data))])
    return [(each.kind, each.sm) for each in found]


def test_entries_of_all_units_are_read_in_order(make_fatbin: Callable[..., bytes]) -> None:
    first = make_fatbin((CUBIN, 70, b"x" * 40), (PTX, 90, b"y" * 16))
    second = make_fatbin((CUBIN, 120, b""))
    assert read(first + bytes(24) + second) == [(CUBIN, 70), (PTX, 90), (CUBIN, 120)]


def test_payloads_are_skipped_even_where_they_look_like_headers(
    make_fatbin: Callable[..., bytes],
) -> None:
    inner = make_fatbin((CUBIN, 35, b"z" * 8))
    assert read(make_fatbin((CUBIN, 80, inner))) == [(CUBIN, 80)]


def test_an_empty_section_and_one_of_padding_hold_nothing() -> None:
    assert read(b"") == []
    assert read(bytes(64)) == []


@pytest.mark.parametrize("cut", [4, 12, 20, 60, 90])
def test_a_truncated_section_is_refused(make_fatbin: Callable[..., bytes], cut: int) -> None:
    whole = make_fatbin((CUBIN, 80, b"x" * 40))
    with pytest.raises(UnreadableBinary):
        read(whole[:cut])


def test_a_size_beyond_the_section_is_refused(make_fatbin: Callable[..., bytes]) -> None:
    whole = bytearray(make_fatbin((CUBIN, 80, b"x" * 40)))
    whole[8:16] = (2**63).to_bytes(8, "little")
    with pytest.raises(UnreadableBinary, match="beyond its section"):
        read(bytes(whole))


def test_an_entry_that_claims_more_than_its_fatbin_is_refused(
    make_fatbin: Callable[..., bytes],
) -> None:
    whole = bytearray(make_fatbin((CUBIN, 80, b"x" * 40)))
    whole[16 + 8 : 16 + 16] = (2**62).to_bytes(8, "little")
    with pytest.raises(UnreadableBinary, match="claims"):
        read(bytes(whole))


def test_a_header_of_no_length_does_not_loop_forever(make_fatbin: Callable[..., bytes]) -> None:
    whole = bytearray(make_fatbin((CUBIN, 80, b"")))
    whole[16 + 4 : 16 + 8] = bytes(4)
    with pytest.raises(UnreadableBinary, match="claims"):
        read(bytes(whole))


def test_a_section_outside_of_the_file_is_refused() -> None:
    with pytest.raises(UnreadableBinary, match="the file at 10"):
        fatbin.entries(Window(io.BytesIO(bytes(10))), [(5, 2**60)])


def test_a_long_stretch_of_zeros_is_refused(make_fatbin: Callable[..., bytes]) -> None:
    with pytest.raises(UnreadableBinary, match="zero bytes"):
        read(bytes(10_000) + make_fatbin((CUBIN, 80, b"")))


def test_another_magic_is_refused() -> None:
    with pytest.raises(UnreadableBinary, match="magic"):
        read(b"\x01" * 64)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 255), value=st.integers(0, 255), cut=st.integers(0, 256))
def test_damage_is_refused_or_read_but_never_anything_else(
    make_fatbin: Callable[..., bytes], place: int, value: int, cut: int
) -> None:
    data = bytearray(make_fatbin((CUBIN, 70, b"x" * 40), (PTX, 90, b"y" * 64)))
    data[place % len(data)] = value
    try:
        found = read(bytes(data[: max(0, len(data) - cut)]))
    except UnreadableBinary:
        return
    assert len(found) <= len(data) // 64


@settings(max_examples=100)
@given(data=st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_or_hold_nothing(data: bytes) -> None:
    with contextlib.suppress(UnreadableBinary):
        assert len(read(data)) <= len(data) // 64


def marked(kind: int, sm: int, flags: int, version: tuple[int, int] = (8, 7)) -> bytes:
    """Make one entry with its flags and version, as fatbinary of CUDA 13.0 writes them."""
    head = struct.pack("<HHIQIIHHI", kind, 0x101, 64, 8, 0, 0, version[1], version[0], sm)
    return (head + struct.pack("<IIQ", 0, 0, flags)).ljust(64, b"\0") + bytes(8)


def held(*bodies: bytes) -> list[fatbin.Entry]:
    body = b"".join(bodies)
    data = struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body
    return fatbin.entries(Window(io.BytesIO(data)), [(0, len(data))])


@pytest.mark.parametrize(
    ("flags", "name"),
    [(0x8011, "sm_100"), (0x1108011, "sm_100a"), (0x1208011, "sm_100f"), (0x100011, "sm_100a")],
)
def test_code_for_one_sm_or_one_family_is_told_apart(flags: int, name: str) -> None:
    assert held(marked(fatbin.CUBIN, 100, flags))[0].name == name


def test_ptx_tells_its_isa_version() -> None:
    assert held(marked(fatbin.PTX, 90, 0x8011, (9, 0)))[0].version == (9, 0)


def test_ptx_isa_versions_agree_with_the_ptx_itself(
    installed_library: Callable[[str, str], Path],
) -> None:
    library = installed_library("bitsandbytes", "libbitsandbytes_cuda128.so")
    stated = set(re.findall(rb"\.version (\d+\.\d+)\n\.target (sm_\d+)", library.read_bytes()))
    told = {(isa.encode(), sm.encode()) for sm, isa in read_library(library).ptx_isa}
    assert told == stated != set()
