"""Decisions carried in files: what is believed, what is refused, and how that is said."""

from __future__ import annotations

import json
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from qdoctor import __version__
from qdoctor.choosing import exported, notice
from qdoctor.choosing.request import Request
from qdoctor.model import BadInput
from tests.choosing.asking import posix_only
from tests.choosing.pretended import H100

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.choosing.pretended import Here

DEVICE = H100.name
VERSIONS = {"torch": "2.11.0", "triton": "3.6.0", "bitsandbytes": "0.50.2", "torchao": ""}


def selection() -> dict[str, Any]:
    return {
        "schema": "qdoctor/selection/1",
        "asked": {"objective": "balanced", "device": "cuda:0"},
        "selected": "bnb-nf4",
        "reason": "it was",
        "candidates": [
            {"backend": "half", "usable": "yes", "reason": "works", "lost": "larger"},
            {"backend": "bnb-nf4", "usable": "yes", "reason": "works"},
        ],
        "device": {"name": DEVICE, "sm": "9.0"},
        "measured": True,
        "seconds": 7.0,
        "key": {
            "qdoctor": __version__,
            "python": ".".join(map(str, sys.version_info[:2])),
            "packages": dict(VERSIONS),
            "driver": "580.1",
            "device": DEVICE,
            "lines": ["python /home/me/bin/python"],
        },
    }


@pytest.fixture(autouse=True)
def _machine(here: Here) -> Iterator[None]:
    here.has(packages={name: f"{version} x" for name, version in VERSIONS.items() if version})
    yield
    exported._latest.clear()


def carry(path: Path, **asks: Any) -> str | None:  # noqa: ANN401
    """What the file decides; None where it answers another question."""
    kept = exported.carried(Request(**asks), {"QDOCTOR_SELECTION": str(path)})
    return None if kept is None else kept.selected


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "selection.json"
    exported.export(selection(), path)
    return path


def changed(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))
    return path


@posix_only
def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """``--export /dev/stdout``, or a device: root would have a file in its place from then on."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        exported.export(selection(), pipe)
        text = os.read(reader, 1 << 16)
    finally:
        os.close(reader)
    assert json.loads(text)["selected"] == "bnb-nf4"
    assert pipe.is_fifo()
    assert os.listdir(tmp_path) == ["pipe"]  # noqa: PTH208


@posix_only
def test_a_link_stays_one_and_what_it_names_is_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "selection.json"
    link.symlink_to(tmp_path / "there" / "real.json")
    exported.export(selection(), link)
    assert link.is_symlink()
    assert json.loads((tmp_path / "there" / "real.json").read_text())["selected"] == "bnb-nf4"


@posix_only
def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be written: Is a directory"):
        exported.export(selection(), tmp_path)


def test_a_decision_travels_without_paths_of_its_machine(file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert carry(file) == "bnb-nf4"
    assert "/home/me" not in file.read_text()
    assert [one.name for one in file.parent.iterdir()] == ["selection.json"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("torch", "2.10.0", "torch: 2.10.0, here 2.11.0"),
        ("torchao", "0.18.0", "torchao: 0.18.0, here none"),
        ("bitsandbytes", "", "bitsandbytes: none, here 0.50.2"),
    ],
)
def test_other_packages_are_refused(file: Path, name: str, value: str, text: str) -> None:
    changed(file, lambda plain: plain["key"]["packages"].update({name: value}))
    with pytest.raises(BadInput, match="is for another machine") as error:
        carry(file)
    assert text in str(error.value)
    assert "QDOCTOR_SELECTION" in str(error.value)
    assert "qdoctor select --export" in str(error.value)


def test_another_gpu_is_refused(file: Path) -> None:
    def other(plain: dict[str, Any]) -> None:
        plain["device"] = {"name": "Tesla T4", "sm": "7.5"}
        plain["key"]["device"] = "Tesla T4"

    with pytest.raises(BadInput, match="device: Tesla T4, here NVIDIA H100"):
        carry(changed(file, other))


def test_another_qdoctor_is_refused(file: Path) -> None:
    changed(file, lambda plain: plain["key"].update(qdoctor="0.0.1"))
    with pytest.raises(BadInput, match=r"qdoctor: 0\.0\.1, here"):
        carry(file)


@pytest.mark.parametrize(("name", "value"), [("driver", "535.2"), ("python", "3.99")])
def test_another_driver_or_python_is_said(file: Path, name: str, value: str) -> None:
    changed(file, lambda plain: plain["key"].update({name: value}))
    with pytest.warns(notice.SelectionWarning, match=f"{name} {value}, here is"):
        assert carry(file) == "bnb-nf4"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert carry(file) == "bnb-nf4"  # said once


@pytest.mark.parametrize(
    ("asks", "text"),
    [
        ({"objective": "memory"}, "objective balanced, not memory"),
        ({"training": True}, "training False, not True"),
        ({"max_error": 0.01}, "max_error None, not 0.01"),
        ({"max_slowdown": 2.0}, "max_slowdown None, not 2.0"),
        ({"shapes": [(1, 2, 3)]}, "other shapes"),
        ({"deny": ["bnb-nf4"]}, "bnb-nf4, which is denied"),
        ({"allow": ["bnb-int8"]}, "bnb-nf4, which is not allowed"),
        ({"device": "cpu"}, "device cuda:0, not cpu"),
    ],
)
def test_another_question_is_answered_without_it_and_that_is_said(
    file: Path, asks: dict[str, Any], text: str
) -> None:
    with pytest.warns(notice.SelectionWarning, match="answers another question") as said:
        assert carry(file, **asks) is None
    assert text in str(said[0].message)


def test_a_gpu_that_is_not_there_is_refused_with_a_decision_as_without(file: Path) -> None:
    with pytest.raises(BadInput, match="device cuda:1 is not there: CUDA shows 1 GPU"):
        carry(file, device="cuda:1")
    assert carry(file, device="cuda:0") == "bnb-nf4"


def _set(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:  # noqa: ANN401
    def change(plain: Any) -> None:  # noqa: ANN401 - a dict, or a list within
        for name in path[:-1]:
            plain = plain[name]
        plain[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_set("selected", value="rm -rf"), "no backend is called rm -rf"),
        (_set("selected", value="\x1b[31mbnb"), "no backend is called [31mbnb"),
        (_set("selected", value="torch-fp8"), "torch-fp8 is no candidate"),
        (_set("schema", value="qdoctor/selection/9"), "Invalid enum value"),
        (_set("surprise", value=1), "unknown field `surprise`"),
        (_set("key", value={}), "does not say which machine"),
        (_set("key", "packages", value=[]), "does not say which machine"),
        (_set("key", "packages", "torch", value=None), "does not say which machine"),
        (_set("key", "driver", value=5), "does not say which machine"),
        (_set("device", "sm", value="7.5"), "contradicts itself"),
        (_set("device", "name", value="Tesla T4"), "contradicts itself"),
        (_set("candidates", value=[]), "is no candidate"),
        (_set("candidates", 1, "usable", value="no"), "bnb-nf4 cannot be used by its own"),
        (_set("seconds", value="long"), "Expected `float`"),
    ],
)  # fmt: skip
def test_a_file_that_makes_no_sense_is_one_clear_error(
    file: Path, change: Callable[[dict[str, Any]], None], text: str
) -> None:
    with pytest.raises(BadInput) as error:
        carry(changed(file, change))
    assert text in str(error.value)
    assert "QDOCTOR_SELECTION" in str(error.value)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe", b"null", b"[]", b"{}", b'{"a":' * 5000, b" " * (1 << 20) + b"{}  "],
    ids=["empty", "cut", "bytes", "null", "list", "nothing", "deep", "large"],
)
def test_a_file_that_is_no_selection_is_one_clear_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "selection.json"
    path.write_bytes(data)
    with pytest.raises(BadInput, match="QDOCTOR_SELECTION"):
        carry(path)


def test_a_report_is_told_from_a_selection_and_what_to_do_is_said(
    tmp_path: Path, machines: Path
) -> None:
    report = tmp_path / "report.json"
    report.write_bytes((machines / "h100-selected.json").read_bytes())
    with pytest.raises(BadInput, match=r"a whole report, .*`qdoctor select --export FILE"):
        carry(report)
    report.write_text("{")
    with pytest.raises(BadInput, match="or unset QDOCTOR_SELECTION"):
        carry(report)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"QDOCTOR_SELECTION .*cannot be read: No such file"):
        carry(tmp_path / "nowhere.json")
    with pytest.raises(BadInput, match="QDOCTOR_SELECTION"):
        carry(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="no regular file"):
        carry(tmp_path / "pipe")


def test_a_file_that_changes_is_read_again(file: Path) -> None:
    assert carry(file) == "bnb-nf4"
    changed(file, _set("selected", value="half"))
    assert carry(file) == "half"


def test_threads_that_read_it_at_once_all_get_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Raced(dict[Any, Any]):
        def __setitem__(self, key: object, value: object) -> None:
            super().__setitem__(key, value)
            self.clear()  # as another thread does that has read another file, or the same

    monkeypatch.setattr(exported, "_latest", Raced())
    assert carry(file) == "bnb-nf4"


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be written"):
        exported.export(selection(), tmp_path / "missing" / "selection.json")
