from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from qdoctor import cache
from qdoctor.facts.inspected import FILE, Inspections
from qdoctor.model import NativeLibrary, Noun

if TYPE_CHECKING:
    from pathlib import Path


class Reader:
    """Reads a library's text as its only SM, and counts."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self, path: Path) -> NativeLibrary:
        self.reads += 1
        return NativeLibrary(file=path.name, sm=[path.read_text()])


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"QDOCTOR_CACHE_DIR": str(tmp_path / "cache")}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "libnative.so"
    path.write_text("sm_80")
    return path


def ask(library: Path, environ: dict[str, str]) -> tuple[NativeLibrary, int]:
    """What a fresh process would learn, and how often it had to read."""
    reader = Reader()
    inspections = Inspections(reader, environ)
    found = inspections.read(library)
    inspections.keep()
    return found, reader.reads


def test_an_unchanged_library_is_read_once(library: Path, environ: dict[str, str]) -> None:
    first, again = ask(library, environ), ask(library, environ)
    assert (first[1], again[1]) == (1, 0)
    assert first[0] == again[0]


def test_a_changed_library_is_read_anew(library: Path, environ: dict[str, str]) -> None:
    ask(library, environ)
    library.write_text("sm_120")
    assert ask(library, environ) == (NativeLibrary(file="libnative.so", sm=["sm_120"]), 1)


def test_a_changed_library_of_the_same_size_is_read_anew(
    library: Path, environ: dict[str, str]
) -> None:
    ask(library, environ)
    library.write_text("sm_90")
    os.utime(library, ns=(1, 1))
    assert ask(library, environ)[0].sm == ["sm_90"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": {"stamp": 1}}', b"\xff\xfe"])
def test_a_broken_cache_is_not_believed(
    library: Path, environ: dict[str, str], content: bytes
) -> None:
    (cache.made_folder(environ) / FILE).write_bytes(content)
    assert ask(library, environ)[1] == 1
    assert ask(library, environ)[1] == 0


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="POSIX permissions")
def test_a_cache_that_anybody_may_write_is_not_believed(
    library: Path, environ: dict[str, str]
) -> None:
    ask(library, environ)
    (cache.folder(environ) / FILE).chmod(0o666)
    assert ask(library, environ)[1] == 1


def test_where_nothing_can_be_written_libraries_are_read_each_time(
    library: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    environ = {"QDOCTOR_CACHE_DIR": str(tmp_path / "file" / "cache")}
    assert [ask(library, environ)[1] for _ in range(2)] == [1, 1]


def test_on_a_full_disk_nothing_half_written_is_left(
    library: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = cache.made_folder(environ)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(folder), "replace", full)
    assert ask(library, environ)[1] == 1
    assert [path.name for path in folder.iterdir()] == [cache.TAG]


def test_a_folder_of_somebody_else_is_left_alone(library: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "letter").write_text("")
    ask(library, {"QDOCTOR_CACHE_DIR": str(tmp_path / "theirs")})
    assert [path.name for path in (tmp_path / "theirs").iterdir()] == ["letter"]


def test_what_cannot_be_read_is_not_remembered(tmp_path: Path, environ: dict[str, str]) -> None:
    def refuse(path: Path) -> NativeLibrary:
        raise OSError(f"{path.name} is truncated")

    path = tmp_path / "broken.so"
    path.write_text("")
    with pytest.raises(OSError, match="truncated"):
        Inspections(refuse, environ).read(path)
    assert not (cache.folder(environ) / FILE).exists()


class Note(Noun, frozen=True):
    """Another kind of thing that is read from a file."""

    lines: int


def test_caches_of_several_kinds_lie_side_by_side(library: Path, environ: dict[str, str]) -> None:
    ask(library, environ)
    notes = Inspections(lambda _: Note(3), environ, file="notes-1.json", kind=Note)
    assert notes.read(library) == Note(3)
    notes.keep()
    again = Inspections(lambda _: Note(4), environ, file="notes-1.json", kind=Note)
    assert again.read(library) == Note(3)
    assert ask(library, environ)[1] == 0


def test_what_is_forgotten_is_read_anew(library: Path, environ: dict[str, str]) -> None:
    reader = Reader()
    inspections = Inspections(reader, environ)
    inspections.read(library)
    inspections.forget(library)
    inspections.read(library)
    assert reader.reads == 2
