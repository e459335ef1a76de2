"""Wheels and sources are read alike."""

from __future__ import annotations

import io
import tarfile
import zipfile
from typing import TYPE_CHECKING

from packaging.version import Version

from qdoctor.mining.python_files import archives, python_files, released

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "raise ValueError(1)\n"


def _wheel(folder: Path) -> Path:
    path = folder / "some_pkg-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("some_pkg/core.py", TEXT)
        wheel.writestr("some_pkg/tests/core.py", TEXT)
        wheel.writestr("some_pkg/data.txt", TEXT)
    return path


def _sources(folder: Path) -> Path:
    path = folder / "some-pkg-1.1.tar.gz"
    with tarfile.open(path, "w:gz") as sources:
        for name in ("some_pkg/core.py", "some_pkg/tests/core.py", "README"):
            member = tarfile.TarInfo(f"some-pkg-1.1/{name}")
            member.size = len(TEXT)
            sources.addfile(member, io.BytesIO(TEXT.encode()))
    return path


def test_a_wheel_and_sources_give_the_same_files(tmp_path: Path) -> None:
    for path in (_wheel(tmp_path), _sources(tmp_path)):
        read = list(python_files(path, lambda name: "/tests/" not in name))
        assert read == [("some_pkg/core.py", TEXT)]


def test_a_folder_lists_both_and_names_tell_the_release(tmp_path: Path) -> None:
    wheel, sources = _wheel(tmp_path), _sources(tmp_path)
    (tmp_path / "notes.txt").write_text("no archive", encoding="utf-8")
    assert archives(tmp_path) == sorted([wheel, sources])
    assert released(wheel) == ("some-pkg", Version("1.0"))
    assert released(sources) == ("some-pkg", Version("1.1"))
