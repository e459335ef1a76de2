"""The public ``select_backend`` and ``Backend``, in this process, with a pretended measurement."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import qdoctor
from qdoctor import BackendUnavailable, BadInput, choosing, process
from qdoctor.choosing.cache_reading import Kept
from qdoctor.model import Selection

if TYPE_CHECKING:
    from pathlib import Path

    from qdoctor.model import Measure
    from tests.choosing.pretended import Chooser


CHOOSE = choosing.choose


def test_a_backend_says_what_it_is_and_why(chooser: Chooser) -> None:
    backend = qdoctor.select_backend()
    assert backend.name == "bnb-int8"
    assert repr(backend) == "<qdoctor backend bnb-int8>"
    assert backend.selection["schema"] == "qdoctor/selection/1"
    assert backend.verdict is not None
    assert backend.verdict.speedup_vs_half == 2.0
    assert backend.verdict.measured_on == "NVIDIA H100 80GB HBM3"
    lines = backend.explain().splitlines()
    assert lines[0] == "selected: bnb-int8: it is the fastest"
    assert "on NVIDIA H100 80GB HBM3 (SM 9.0)" in lines[1]
    assert "bnb-nf4: rel. error 0.09; its error is too large" in lines
    assert len(chooser.asked) == 1


def test_the_key_of_an_answer_stands_in_it(chooser: Chooser) -> None:
    found = qdoctor.select_backend().selection["key"]
    assert chooser.asked
    assert found["packages"]["torch"] == "2.11.0"
    assert found["driver"] == "580.1"
    assert found["device"] == "NVIDIA H100 80GB HBM3"
    assert any(line.startswith("device NVIDIA H100") for line in found["lines"])


def test_what_is_asked_arrives(chooser: Chooser) -> None:
    qdoctor.select_backend(
        "latency", max_error=0.03, shapes=[(1, 64, 128)], device="cuda:0", training=True,
        allow=["bnb-nf4", "bnb-int8"], deny=["torch-fp8"], budget=3,
        max_slowdown=2,
    )  # fmt: skip
    one = chooser.asked[0]
    assert one.max_slowdown == 2.0
    assert (one.objective, one.max_error, one.device) == ("latency", 0.03, "cuda:0")
    assert (one.shapes, one.training, one.budget_seconds) == ([(1, 64, 128)], True, 3.0)
    assert (one.allow, one.deny) == (["bnb-int8", "bnb-nf4"], ["torch-fp8"])


def test_a_model_tells_its_shapes(chooser: Chooser) -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(
        *(torch.nn.Linear(64, 64) for _ in range(3)), torch.nn.Linear(64, 48)
    )
    qdoctor.select_backend(shapes=model)
    one = chooser.asked[0]
    assert one.shapes is not None
    assert {shape[1:] for shape in one.shapes} == {(64, 64), (64, 48)}
    assert one.counts == [3 if shape[2] == 64 else 1 for shape in one.shapes]
    qdoctor.select_backend(shapes=model)
    assert len(chooser.asked) == 1
    with pytest.raises(BadInput, match=r"no torch\.nn\.Linear"):
        qdoctor.select_backend(shapes=torch.nn.Sequential())


def test_a_required_backend_is_taken_or_raises(chooser: Chooser) -> None:
    backend = qdoctor.select_backend(require="bnb-nf4")
    assert backend.name == backend.selection["selected"] == "bnb-nf4"
    assert "by itself bnb-int8 would be selected" in backend.selection["reason"]
    with pytest.raises(BackendUnavailable, match="bnb-switchback is required") as error:
        qdoctor.select_backend(require="bnb-switchback")
    assert "Fix: " in str(error.value)
    assert "\n" not in str(error.value)
    assert qdoctor.select_backend().name == "bnb-int8"
    with pytest.raises(BackendUnavailable, match="bnb-nf4 is required for training, but it cann"):
        qdoctor.select_backend(require="bnb-nf4", training=True)
    assert qdoctor.select_backend(require="bnb-int8", training=True).name == "bnb-int8"
    with pytest.raises(BadInput, match="no backend is called 'nf4'; did you mean bnb-nf4"):
        backend.required("nf4")
    assert len(chooser.asked) == 2


def test_no_backend_at_all_is_an_answer(chooser: Chooser) -> None:
    chooser.answer = lambda question: Selection(
        asked=question, selected=None, reason="torch is not installed", candidates=[]
    )
    backend = qdoctor.select_backend()
    assert backend.name is None
    assert backend.verdict is None
    assert backend.explain().startswith("selected: none: torch is not installed\n")
    with pytest.raises(BackendUnavailable, match="torch is not installed"):
        backend.linear(16, 16)


def test_a_carried_decision_is_asked_before_the_cache(
    chooser: Chooser, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    qdoctor.select_backend(require="bnb-nf4").export(tmp_path / "selection.json")
    monkeypatch.setenv("QDOCTOR_SELECTION", str(tmp_path / "selection.json"))
    assert qdoctor.select_backend().name == "bnb-nf4"
    assert len(chooser.asked) == 1


def test_a_backend_agreed_for_several_kinds_is_not_carried(tmp_path: Path) -> None:
    body = msgspec.json.encode({"key": {}, "selected": "half"})
    with pytest.raises(BadInput, match="several kinds of device"):
        qdoctor.Backend(Kept("half", body)).export(tmp_path / "selection.json")


def test_only_looking_starts_no_kernel_and_says_so_where_it_was_asked(
    chooser: Chooser, monkeypatch: pytest.MonkeyPatch
) -> None:
    probes: list[str] = []

    def examine(question: Any, **_: object) -> Any:  # noqa: ANN401
        probes.append(question.probe)
        raise OSError("nothing is read in this test")

    monkeypatch.setattr("qdoctor.doctor.examine", examine)
    with pytest.warns(qdoctor.SelectionWarning) as said:
        backend = qdoctor.select_backend(measure="cached")
    assert backend.name == "half"
    assert probes == ["none"]
    assert not chooser.asked
    assert {one.filename for one in said} == {__file__}
    assert "no measured selection is kept" in str(said[0].message)
    qdoctor.select_backend()
    assert len(chooser.asked) == 1
    assert qdoctor.select_backend(measure="cached").name == "bnb-int8"


@pytest.mark.usefixtures("chooser")
def test_where_too_many_files_are_open_it_is_half_and_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also of memory or processes there may be none for a child, for a while."""
    refused = process.Ended(start_error="Too many open files")
    monkeypatch.setattr(choosing, "choose", CHOOSE)
    monkeypatch.setattr(process, "run", lambda *_, **__: refused)
    with pytest.warns(qdoctor.SelectionWarning, match="Too many open files.*half is used"):
        backend = qdoctor.select_backend(device="cpu")
    assert backend.name == "half"
    assert "--python" not in backend.selection["reason"]


@pytest.mark.parametrize("unknown", ["", None])
def test_an_embedded_python_gets_half_and_the_reason(
    chooser: Chooser, monkeypatch: pytest.MonkeyPatch, unknown: str | None
) -> None:
    monkeypatch.setattr(sys, "executable", unknown)
    with pytest.warns(qdoctor.SelectionWarning, match="does not know its own interpreter"):
        assert qdoctor.select_backend().name == "half"
    assert not chooser.asked


@pytest.mark.parametrize("measure", ["auto", "never"])
def test_a_frozen_program_gets_half_and_is_not_started_again(
    chooser: Chooser, monkeypatch: pytest.MonkeyPatch, measure: Measure
) -> None:
    """It would ask for a backend again, and start itself again, and so on."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.warns(qdoctor.SelectionWarning, match="a frozen program has no interpreter"):
        assert qdoctor.select_backend(measure=measure).name == "half"
    assert not chooser.asked
    with pytest.raises(qdoctor.BadInput, match="is a frozen program"):
        qdoctor.check(probe="none")
