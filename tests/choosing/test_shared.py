"""What the command takes of ``QDOCTOR_SELECTION``: for real, of the interpreter that runs this."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import qdoctor
from qdoctor import BadInput, cli
from qdoctor.choosing import answering, notice, shared
from qdoctor.model import Asked, Selection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Capture = pytest.CaptureFixture[str]

WORDS = ["select", "--python", sys.executable, "--measure", "cached", "--format", "json"]
"""No kernel is started: what is carried is looked at here, not how it was found."""


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QDOCTOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    notice.forget()
    yield
    answering.forget()
    notice.forget()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Path:
    """A decision for this machine that nothing here would make by itself: named, it shows."""
    path = tmp_path / "selection.json"
    assert cli.run([*WORDS, "--export", str(path)]) == 0
    capsys.readouterr()
    plain = json.loads(path.read_text())
    other = next(one["backend"] for one in plain["candidates"] if one["lost"])
    path.write_text(json.dumps({**plain, "selected": other, "reason": "it was carried"}))
    monkeypatch.setenv("QDOCTOR_SELECTION", str(path))
    return path


def told(*words: str, capsys: Capture) -> tuple[dict[str, Any], str]:
    assert cli.run([*WORDS, *words]) == 0
    out, err = capsys.readouterr()
    selection: dict[str, Any] = json.loads(out)["selection"]
    return selection, err


def test_a_carried_decision_is_the_answer_and_the_one_that_python_gets(
    file: Path, capsys: Capture
) -> None:
    found, err = told(capsys=capsys)
    assert found["reason"] == "it was carried"
    assert found["notes"][-1].startswith("carried, not measured here: QDOCTOR_SELECTION (")
    assert err == ""
    assert qdoctor.select_backend(measure="cached").name == found["selected"]
    text = cli.run([*WORDS[:-1], "text"])
    assert (text, f"Selected: {found['selected']}" in capsys.readouterr().out) == (0, True)
    assert json.loads(file.read_text())["reason"] == "it was carried"


def test_one_that_is_written_anew_is_not_bound_by_the_old_one(file: Path, capsys: Capture) -> None:
    old = json.loads(file.read_text())["selected"]
    found, _ = told("--export", str(file), capsys=capsys)
    assert found["selected"] != old
    assert "is not used: --export makes a decision to be carried" in found["notes"][-1]
    written = json.loads(file.read_text())
    assert written["selected"] == found["selected"]
    assert not any("QDOCTOR_SELECTION" in note for note in written["notes"])
    assert told(capsys=capsys)[0]["reason"] == written["reason"]


def test_an_older_one_may_be_written_over_though_it_fits_no_more(
    file: Path, capsys: Capture
) -> None:
    file.write_text("{")
    assert cli.run(WORDS) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith("qdoctor: QDOCTOR_SELECTION (")
    told("--export", str(file), capsys=capsys)  # which is what the message says to do
    assert told(capsys=capsys)[0]["notes"][-1].startswith("carried")


def test_another_question_is_answered_without_it_and_a_line_says_so(
    file: Path, capsys: Capture
) -> None:
    assert file.exists()
    found, err = told("--objective", "accuracy", capsys=capsys)
    assert found["asked"]["objective"] == "accuracy"
    assert err.startswith("qdoctor: warning: QDOCTOR_SELECTION (")
    assert "answers another question (objective balanced, not accuracy)" in err


def test_of_another_machine_it_says_nothing_and_that_is_noted(
    file: Path, capsys: Capture, machines: Path
) -> None:
    assert file.exists()
    described = str(machines / "h100-every-probe.json")
    assert cli.run(["select", "--facts", described, "--format", "json"]) == 0
    notes = json.loads(capsys.readouterr().out)["selection"]["notes"]
    assert "is not used: this is not about the interpreter" in notes[-1]


def test_what_is_required_is_looked_up_in_it(file: Path, capsys: Capture) -> None:
    plain = json.loads(file.read_text())
    worse = msgspec.structs.replace
    selection = msgspec.convert(plain, Selection)
    broken = [
        worse(one, usable="no", reason="it broke there") if one.backend == "bnb-nf4" else one
        for one in selection.candidates
    ]
    file.write_bytes(msgspec.json.encode(worse(selection, candidates=broken)))
    assert cli.run([*WORDS, "--require", "bnb-nf4"]) == 1
    reason = json.loads(capsys.readouterr().out)["selection"]["reason"]
    assert reason.startswith("bnb-nf4 is required, and cannot be used here: it broke there")


def test_measuring_anew_passes_by_what_is_known(file: Path) -> None:
    request = shared.request_of(qdoctor_question(), Asked(measure="cached"), {})
    assert request is not None
    environ = {"QDOCTOR_SELECTION": str(file), "QDOCTOR_CACHE_DIR": str(file.parent)}
    carried = shared.known(request, environ, refresh=False, export=False)
    assert carried is not None
    assert carried.reason == "it was carried"
    assert shared.known(request, environ, refresh=True, export=False) is None
    assert shared.known(request, environ, refresh=False, export=True) is None
    noted = shared.passed_by(request, environ, refresh=True, export=False)
    assert [note.endswith("is not used: --refresh measures anew") for note in noted] == [True]
    assert shared.passed_by(request, {}, refresh=True, export=False) == []
    gone = {**environ, "QDOCTOR_SELECTION": str(file.parent / "gone.json")}
    with pytest.raises(BadInput, match="cannot be read"):
        shared.known(request, gone, refresh=False, export=False)


def qdoctor_question() -> Any:  # noqa: ANN401 - loaded here, as only one test asks with it
    from qdoctor.question import Question  # noqa: PLC0415

    return Question(python=sys.executable, probe="full")
