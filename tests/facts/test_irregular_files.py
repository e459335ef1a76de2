"""What lies where a file should and is none: never waited for, never read without end."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from qdoctor.binaries import UnreadableBinary, read_library
from qdoctor.facts import candidates
from qdoctor.facts.inspected import Inspections
from qdoctor.facts.interpreter import Distribution, Reading
from qdoctor.facts.libcuda import found_by_loader
from qdoctor.facts.native import read_native
from qdoctor.model import NativeLibrary
from tests.facts.readings import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no FIFO lies in folders there")
PATIENCE = 30.0


@pytest.fixture
def fifo() -> Iterator[Callable[[Path], Path]]:
    """Make a FIFO; whoever waits for its writer is set free after a while, and fails the test."""
    made: list[Path] = []
    waited: list[Path] = []

    def make(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
        made.append(path)
        return path

    def free() -> None:
        for path in made:
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:  # nobody waits for it
                continue
            waited.append(path)

    timer = threading.Timer(PATIENCE, free)
    timer.daemon = True
    timer.start()
    yield make
    timer.cancel()
    assert not waited


def found(site: Path, *, bitsandbytes: bool = False) -> Reading:
    info = site / "bitsandbytes-1.0.dist-info"
    folders = {"bitsandbytes": str(site / "bitsandbytes")} if bitsandbytes else {}
    own = Distribution("bitsandbytes", "1.0", str(info / "METADATA"), str(site))
    return reading([], own, folders=folders)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"QDOCTOR_CACHE_DIR": str(tmp_path / "cache")}


def test_a_record_that_is_a_fifo_lists_nothing(
    tmp_path: Path, environ: dict[str, str], fifo: Callable[[Path], Path]
) -> None:
    fifo(tmp_path / "bitsandbytes-1.0.dist-info" / "RECORD")
    assert candidates.find(found(tmp_path), environ).candidates == []


def test_a_record_without_end_lists_nothing(tmp_path: Path, environ: dict[str, str]) -> None:
    record = tmp_path / "bitsandbytes-1.0.dist-info" / "RECORD"
    record.parent.mkdir()
    record.symlink_to("/dev/zero")
    assert candidates.find(found(tmp_path), environ).candidates == []
    record.unlink()
    with record.open("wb") as file:
        file.truncate(1 << 40)  # holes only
    assert candidates.find(found(tmp_path), environ).candidates == []


def test_a_library_that_is_a_fifo_is_told(
    tmp_path: Path, environ: dict[str, str], fifo: Callable[[Path], Path]
) -> None:
    name = "libbitsandbytes_cuda118.so"
    fifo(tmp_path / "bitsandbytes" / name)
    for _ in range(2):  # the first look tells the system what is about to be read
        read = read_native(found(tmp_path, bitsandbytes=True), environ)
        assert read.unread == {f"native.{name}": "no regular file"}
        assert [(one.file, one.sm) for one in read.libraries] == [(name, None)]


def test_a_fifo_is_announced_without_waiting(
    tmp_path: Path, environ: dict[str, str], fifo: Callable[[Path], Path]
) -> None:
    inspections = Inspections(lambda path: NativeLibrary(file=path.name), environ)
    inspections.announce([fifo(tmp_path / "a.so")])
    assert inspections.is_empty


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/"])
def test_what_is_no_file_is_no_library(device: str) -> None:
    with pytest.raises(UnreadableBinary, match=r"no regular file|Is a directory"):
        read_library(device)


def test_a_driver_library_that_is_a_fifo_is_none(
    tmp_path: Path, fifo: Callable[[Path], Path]
) -> None:
    fifo(tmp_path / "lib" / "libcuda.so.1")
    assert found_by_loader({"LD_LIBRARY_PATH": "/lib"}, tmp_path) == []


@pytest.mark.parametrize(
    "stated",
    [
        b'{"url": "file://[x", "dir_info": {"editable": true}}',
        b'{"url": "file:///a%00b", "dir_info": {"editable": true}}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_any_direct_url_is_survived(stated: bytes, tmp_path: Path, environ: dict[str, str]) -> None:
    info = tmp_path / "bitsandbytes-1.0.dist-info"
    info.mkdir()
    (info / "RECORD").write_text(f"{info.name}/direct_url.json,,\n")
    (info / "direct_url.json").write_bytes(stated)
    assert candidates.find(found(tmp_path), environ).candidates == []
