from __future__ import annotations

import io
import os
import time
from pathlib import Path

import pytest

from qdoctor.model import BadInput
from qdoctor.terminal import (
    Progress,
    in_colour,
    refuse_unwritable,
    width,
    write_file,
    write_stream,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("choice", "environ", "terminal", "to_file", "expected"),
    [
        ("always", {"NO_COLOR": "1"}, False, True, True),
        ("never", {"FORCE_COLOR": "1"}, True, False, False),
        ("auto", {}, True, False, True),
        ("auto", {}, False, False, False),
        ("auto", {"NO_COLOR": "1"}, True, False, False),
        ("auto", {"NO_COLOR": ""}, True, False, True),
        ("auto", {"FORCE_COLOR": "1"}, False, False, True),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False, False),
        ("auto", {"TERM": "dumb"}, True, False, False),
        ("auto", {}, True, True, False),
    ],
)
def test_colour(
    choice: str, environ: dict[str, str], *, terminal: bool, to_file: bool, expected: bool
) -> None:
    stream = Terminal() if terminal else io.StringIO()
    assert in_colour(choice, stream, environ, to_file=to_file) is expected


def test_width_is_80_where_nobody_looks() -> None:
    assert width(io.StringIO()) == 80
    assert width(None) == 80


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    path.write_text("old")
    write_file("new\n", path)
    assert path.read_text() == "new\n"
    assert [one.name for one in tmp_path.iterdir()] == ["report.txt"]


def test_what_can_be_written_is_not_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "new", Path("new"), Path(os.devnull)):
        refuse_unwritable(path)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_file("new", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_device_is_written_to_not_replaced() -> None:
    write_file("gone", Path(os.devnull))
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize("name", ["missing/report.txt", "folder"])
def test_what_cannot_be_written_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadInput, match="cannot be written"):
        refuse_unwritable(tmp_path / name)
    with pytest.raises(BadInput, match="cannot be written"):
        write_file("x", tmp_path / name)
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]


def test_characters_that_a_stream_cannot_show_are_escaped() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    write_stream("caf\u00e9 \ud800\n", stream)
    assert raw.getvalue() == b"caf\\xe9 \\ud800\n"


def test_a_closed_stream_is_no_error() -> None:
    write_stream("x", None)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said() -> None:
    with Path("/dev/full").open("w") as stream, pytest.raises(BadInput, match="cannot be written"):
        write_stream("x", stream)


def test_quick_work_shows_no_progress() -> None:
    stream = Terminal()
    with Progress(stream) as progress:
        progress("triton_libdevice")
    assert stream.getvalue() == ""


def test_long_work_shows_the_latest_and_then_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qdoctor.terminal._PATIENCE", 0.02)
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress("first")
        progress("second")
        _until(lambda: stream.getvalue() != "")
        progress("third")
    assert stream.getvalue() == "second\nthird\n"


def test_a_terminal_gets_one_line_that_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qdoctor.terminal._PATIENCE", 0.02)
    stream = Terminal()
    with Progress(stream) as progress:
        progress("first")
        _until(lambda: stream.getvalue() != "")
    assert "first" in stream.getvalue()
    assert "\n" not in stream.getvalue()
    assert stream.getvalue().endswith("\r\x1b[K")


def _until(condition: object) -> None:
    assert callable(condition)
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never happened")
