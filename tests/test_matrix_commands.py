"""``qdoctor matrix query`` and ``show``: the contract's JSON, texts, and exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from qdoctor import cli
from qdoctor.matrix import shipped

if TYPE_CHECKING:
    from pathlib import Path


def test_a_release_as_the_contract_writes_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["matrix", "query", "triton==3.0.0", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    known = shipped().release("triton", "3.0.0")
    assert known
    assert told == {
        "package": "triton",
        "version": "3.0.0",
        "facts": known.facts,
        "evidence": known.evidence,
    }


@pytest.mark.parametrize(
    ("release", "name", "answer", "code"),
    [
        ("triton==2.0.0", "triton.language.libdevice", "yes", 0),
        ("triton==3.0.0", "triton.language.libdevice", "no", 0),
        ("bitsandbytes==0.42.0", "bitsandbytes.nn.SwitchBackLinear", "yes", 0),
        ("Triton==3.0", "triton.language.extra.libdevice", "yes", 0),
        ("triton==2.x", "triton.language.libdevice", "unknown", 3),
        ("triton==3.0.0", "triton._C", "unknown", 3),
        ("triton==99.0", "triton.language", "unknown", 3),
        ("torch==2.5.1", "torch.nn", "unknown", 3),
    ],
)
def test_whether_a_release_has_a_name(
    release: str, name: str, answer: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["matrix", "query", release, "has", name, "--format", "json"]) == code
    streams = capsys.readouterr()
    told = json.loads(streams.out)
    assert list(told) == ["answer", "evidence"]
    assert told["answer"] == answer
    assert bool(told["evidence"]) is (answer != "unknown")
    assert bool(streams.err) is (answer == "unknown")


def test_without_a_version_the_newest_is_asked_and_the_others_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run(["matrix", "query", "triton", "has", "triton.language.libdevice"]) == 0
    first, *spans = capsys.readouterr().out.splitlines()
    newest = shipped().versions("triton")[-1]
    assert first.split() == ["no", "triton.language.libdevice", "in", "triton", str(newest)]
    assert spans[0].split() == ["yes", "2.0.0"]


def test_evidence_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["matrix", "query", "torch==2.5.1"]) == 0
    plain = capsys.readouterr().out
    assert "12.4" in plain
    assert "sha256" not in plain
    assert cli.run(["matrix", "query", "torch==2.5.1", "--evidence"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "torch/version.py" in text
    assert "[documented]" in text


def test_an_unknown_release_says_how_to_learn_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["matrix", "query", "torch==99.1", "--format", "json"]) == 3
    streams = capsys.readouterr()
    assert json.loads(streams.out)["facts"] == {}
    assert "qdoctor matrix mine --only torch==99.1" in streams.err


def test_a_build_that_is_not_known_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["matrix", "query", "torch==2.9.1+cu999"]) == 3
    streams = capsys.readouterr()
    assert "torch 2.9.1 " in streams.out
    assert "knows no build cu999 of torch 2.9.1: it knows cu126, cu128, cu130" in streams.err
    assert cli.run(["matrix", "query", "bitsandbytes==0.45.0+mine"]) == 3
    assert "no build mine of bitsandbytes 0.45.0: it knows none by a tag" in capsys.readouterr().err


@pytest.mark.parametrize("release", ["torch==2.9.1+cu128", "torch==2.9.1+CU126", "torch==2.9.1"])
def test_of_a_build_that_is_known_nothing_is_said(
    release: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["matrix", "query", release]) == 0
    assert not capsys.readouterr().err


def test_an_unknown_release_is_named_in_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["matrix", "query", "triton==99", "has", "triton.language"]) == 3
    assert capsys.readouterr().out.split() == ["unknown", "triton.language", "in", "triton", "99"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["query", "triton==abc"], "names no version"),
        (["query", "tri ton"], "names no package"),
        (["query", "triton", "lacks", "x"], "is no question"),
        (["query", "triton", "has"], "is no question"),
        (["query", "triton", "has", "a b"], "is no dotted name"),
        (["show", "nothing"], "there is no grid"),
    ],
)
def test_bad_questions(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["matrix", *words]) == 2
    assert said in capsys.readouterr().err


def test_grids_as_data(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "grids.json"
    command = ["matrix", "show", "torch", "--format", "json", "--evidence", "--output", str(path)]
    assert cli.run(command) == 0
    assert capsys.readouterr().out == ""
    told = json.loads(path.read_text(encoding="utf-8"))
    assert told["matrix_version"] == shipped().version
    (grid,) = told["grids"]
    assert grid["name"] == "torch"
    assert all(row["evidence"] for row in grid["rows"])


def test_without_a_name_every_grid_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["matrix", "show"]) == 0
    text = capsys.readouterr().out
    for words in ("SwitchBack", "imported without a GPU", "CUDA x SM", "torch: triton"):
        assert words in text
