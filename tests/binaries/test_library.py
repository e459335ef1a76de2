from __future__ import annotations

import io
import re
import shutil
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdoctor.binaries import UnreadableBinary, exported_symbols, fatbin, read_elf, read_library

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Finder = Callable[[str, str], Path]


def told_by(tool: str, *arguments: str) -> str:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=False).stdout


def test_sms_and_ptx_agree_with_cuobjdump(installed_library: Finder) -> None:
    library = installed_library("bitsandbytes", "libbitsandbytes_cuda130.so")
    cuobjdump = installed_library("triton", "backends/nvidia/bin/cuobjdump")
    listed = told_by(str(cuobjdump), "-all", "--list-elf", "--list-ptx", str(library))
    found = read_library(library)
    assert set(found.sm) == set(re.findall(r"\.(sm_\d+)\.cubin", listed)) != set()
    assert set(found.ptx) == set(re.findall(r"\.(sm_\d+)\.ptx", listed)) != set()


def test_needs_and_symbol_versions_agree_with_readelf(installed_library: Finder) -> None:
    library = installed_library("triton", "_C/libtriton.so")
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", told_by("readelf", "-dW", str(library)))
    versions = re.findall(r"Name: GLIBC_([\d.]+)", told_by("readelf", "-VW", str(library)))
    found = read_library(library)
    assert list(found.needs) == needed
    assert found.glibc == max(versions, key=lambda text: [int(part) for part in text.split(".")])
    assert (found.sm, found.ptx) == ((), ())


def test_exported_symbols_agree_with_nm(installed_library: Finder) -> None:
    library = installed_library("bitsandbytes", "libbitsandbytes_cuda130.so")
    lines = told_by("nm", "-D", "--defined-only", str(library)).splitlines()
    listed = {line.split()[-1].split("@")[0] for line in lines}
    assert {name for name in exported_symbols(library) if "igemmlt" in name}
    assert {name.split("@")[0] for name in exported_symbols(library)} == listed


def test_a_reader_is_read_as_a_path_is(installed_library: Finder) -> None:
    library = installed_library("bitsandbytes", "libbitsandbytes_cuda130.so")
    with library.open("rb") as file:
        assert read_library(file) == read_library(library)
        assert not file.closed


@pytest.mark.skipif(sys.platform != "linux", reason="needs an ELF interpreter")
def test_the_running_interpreter_is_an_elf_file_without_gpu_code() -> None:
    found = read_elf(sys.executable)
    assert found.fatbins == ()
    assert re.fullmatch(r"2\.\d+(\.\d+)?", found.glibc)


@pytest.fixture
def small_elf(installed_library: Finder) -> bytes:
    return installed_library("bitsandbytes", "libbitsandbytes_cpu.so").read_bytes()


@settings(max_examples=60)
@given(data=st.data())
def test_a_damaged_elf_is_refused_or_read(data: st.DataObject) -> None:
    with open(sys.executable, "rb") as file:  # noqa: PTH123
        head = bytearray(file.read(4096))
    for _ in range(8):
        head[data.draw(st.integers(4, len(head) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_library(io.BytesIO(bytes(head)))
    except UnreadableBinary:
        return


@pytest.mark.parametrize("keep", [5, 64, 1000, 20_000])
def test_a_truncated_elf_is_refused(small_elf: bytes, keep: int) -> None:
    with pytest.raises(UnreadableBinary):
        read_library(io.BytesIO(small_elf[:keep]))


def test_an_elf_that_claims_huge_tables_is_refused_without_reading_them(small_elf: bytes) -> None:
    damaged = bytearray(small_elf)
    (sections,) = struct.unpack_from("<Q", damaged, 40)
    (count,) = struct.unpack_from("<H", damaged, 60)
    for number in range(1, count):
        struct.pack_into("<Q", damaged, sections + 64 * number + 32, 2**62)  # sh_size
    with pytest.raises(UnreadableBinary):
        read_library(io.BytesIO(bytes(damaged)))


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"PK\x03\x04" + bytes(60), b"\x7fELF"])
def test_what_is_no_library_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableBinary):
        read_library(io.BytesIO(data))


def test_a_missing_file_is_refused_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(UnreadableBinary, match="No such file"):
        read_library(tmp_path / "gone.so")


def test_a_windows_library(
    make_pe: Callable[..., bytes], make_fatbin: Callable[..., bytes]
) -> None:
    code = make_fatbin((fatbin.CUBIN, 89, b"x" * 8))
    linkable = make_fatbin((fatbin.CUBIN, 75, b""), (fatbin.PTX, 120, b"y" * 24))
    sections = {".nv_fatbin": code, "__nv_relfatbin": linkable}
    found = read_library(io.BytesIO(make_pe(sections, ("cublasLt64_13.dll", "KERNEL32.dll"))))
    assert (found.format, found.machine, found.glibc) == ("pe", "x86_64", None)
    assert found.needs == ("cublasLt64_13.dll", "KERNEL32.dll")
    assert (found.sm, found.ptx) == (("sm_75", "sm_89"), ("sm_120",))


def test_a_windows_library_without_imports(make_pe: Callable[..., bytes]) -> None:
    assert read_library(io.BytesIO(make_pe({".text": b"x"}))).needs == ()


@settings(max_examples=150)
@given(data=st.binary(max_size=600))
def test_windows_headers_of_any_bytes_are_refused_or_read(data: bytes) -> None:
    start = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40) + b"PE\0\0" + data
    try:
        read_library(io.BytesIO(start))
    except UnreadableBinary:
        return


def macho(*names: str) -> bytes:
    commands = b""
    for name in names:
        text = name.encode() + b"\0"
        commands += struct.pack("<IIIIII", 0x0C, 24 + len(text), 24, 0, 0, 0) + text
    counts = struct.pack("<IIII", len(names), len(commands), 0, 0)
    return b"\xcf\xfa\xed\xfe" + struct.pack("<iII", 0x0100000C, 0, 6) + counts + commands


def test_a_macos_library() -> None:
    found = read_library(io.BytesIO(macho("/usr/lib/libc++.1.dylib", "@rpath/libomp.dylib")))
    assert (found.format, found.machine, found.sm) == ("macho", "arm64", ())
    assert found.needs == ("/usr/lib/libc++.1.dylib", "@rpath/libomp.dylib")


@pytest.mark.parametrize("keep", [4, 20, 40])
def test_a_truncated_macos_library_is_refused(keep: int) -> None:
    with pytest.raises(UnreadableBinary):
        read_library(io.BytesIO(macho("/usr/lib/libc++.1.dylib")[:keep]))
