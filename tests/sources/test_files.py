"""Installed source files, hostile ones among them: each is read with bounds or not at all."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from qdoctor.sources.files import LARGEST, InstalledSources, Unreadable, read
from qdoctor.sources.names import Names

if TYPE_CHECKING:
    from pathlib import Path


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"x = 1\n")
    assert read(tmp_path / "a.py") == b"x = 1\n"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.py")
    with pytest.raises(Unreadable, match="no regular file"):
        read(tmp_path / "a.py")


@pytest.mark.skipif(sys.platform == "win32", reason="no such links")
def test_a_link_to_itself_and_a_device_are_refused(tmp_path: Path) -> None:
    (tmp_path / "loop.py").symlink_to(tmp_path / "loop.py")
    (tmp_path / "zero.py").symlink_to("/dev/zero")
    for name in ("loop.py", "zero.py", "absent.py", "nul\0.py"):
        with pytest.raises(Unreadable):
            read(tmp_path / name)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.py").open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(Unreadable, match="larger than"):
        read(tmp_path / "a.py")


@pytest.mark.parametrize(
    "text",
    [
        b"import triton\0",
        b"\xff\xfe import triton",
        b"# -*- coding: nonsense -*-\nimport triton",
        b"import triton\n" + b"(" * 100_000,
        b"import triton\nx = " + b"-" * 100_000 + b"1",
        b"import triton\nx = " + b"+".join([b"1"] * 100_000),
        b"def f(:",
    ],
    ids=["nul", "no text", "coding", "parentheses", "signs", "sum", "syntax"],
)
def test_what_does_not_parse_is_left_out_and_named(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.py").write_bytes(text)
    (tmp_path / "b.py").write_bytes(b"x = 1")
    sources = InstalledSources("p", {"p/a.py": tmp_path / "a.py", "p/b.py": tmp_path / "b.py"})
    assert list(sources.modules) == ["p.b"]
    assert sources.unparsed[0].startswith("p/a.py: ")


def test_modules_are_parsed_when_asked_for(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text("x = 1")
    members = {f"p/{name}.py": tmp_path / f"{name}.py" for name in ("a", "b")}
    sources = InstalledSources("p", members)
    assert Names(sources).has("p.a.x") is True
    assert sources.read == ["p/a.py"]
    assert sources.packages == {"p", "p.a", "p.b"}
