"""From a report to a selection: which device, what is measured there, and what is not and why."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import msgspec
import pytest

from qdoctor import judging
from qdoctor.choosing import choose, from_scratch, shapes
from qdoctor.choosing.from_scratch import check, choose_from
from qdoctor.choosing.measured import Measured
from qdoctor.choosing.place import number, place
from qdoctor.doctor import examine
from qdoctor.matrix import shipped
from qdoctor.model import Asked, BadInput, Facts, Report, SelectedFor, Target
from qdoctor.plan import Plan
from qdoctor.question import Question
from tests.choosing.conftest import BYTES, ERRORS, timed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from qdoctor.choosing.measuring import Wish

MORE = {"torchao-fp8": 0.037, "torchao-int4": 0.1}
"""Errors of what ran on that machine too, and is in no other answer that is made up."""
TIMES = {"half": 1.0, "bnb-int8": 1.5, "qdoctor-switchback": 0.6, "torch-fp8": 0.5, "bnb-nf4": 1.2}


def replayed(machines: Path, name: str) -> Report:
    return examine(
        Question(facts_file=str(machines / f"{name}.json")), environ={}, stdin=io.BytesIO()
    )


def here(report: Report) -> Report:
    """The same report, as if made on this machine."""
    target = Target(kind="interpreter", chosen_by="--python", python="/usr/bin/python3")
    return msgspec.structs.replace(report, target=target)


@pytest.fixture
def wishes(monkeypatch: pytest.MonkeyPatch) -> list[Wish]:
    """What was asked to be measured; the answer is made up."""
    asked: list[Wish] = []

    def measure(wish: Wish, python: str, environ: Mapping[str, str], _: object) -> Measured:
        assert (python, dict(environ)) == ("/usr/bin/python3", {})
        asked.append(wish)
        cells = {
            name: [
                timed(
                    TIMES.get(name, 2.0),
                    error={**ERRORS, **MORE}[name],
                    size=BYTES.get(name, 1.0),
                    shape=shape,
                )
                for shape in wish.shapes
            ]
            for name in wish.backends
        }
        return Measured(wish.shapes, cells, {}, wish.counts, SelectedFor("a GPU", "9.0"), 4.5)

    monkeypatch.setattr(from_scratch, "measure", measure)
    return asked


def selected(report: Report, **asked: object) -> Report:
    question = msgspec.convert(asked, Asked)
    return choose_from(report, question, environ={}, matrix=shipped())


def test_what_a_probe_showed_is_measured_at_the_stated_shapes_on_the_first_gpu(
    machines: Path, wishes: list[Wish]
) -> None:
    report = selected(here(replayed(machines, "h100-every-probe")), objective="latency")
    wish = wishes[0]
    assert wish.backends[0] == "half"
    assert {"qdoctor-switchback", "torch-fp8", "bnb-int8"} <= set(wish.backends)
    assert not {"bnb-switchback", "bnb-fp4"} & set(wish.backends)
    assert (wish.device, wish.shapes) == ("cuda:0", shapes.stated("cuda:0"))
    found = report.selection
    assert found is not None
    assert (found.selected, found.measured, found.seconds) == ("torch-fp8", True, 4.5)
    assert report.selected == "torch-fp8"
    assert found.asked.device == "cuda:0"
    assert found.asked.shapes == shapes.stated("cuda:0")
    assert (found.tool_version, found.matrix_version) == (report.tool_version, shipped().version)
    assert {one.backend for one in found.candidates} == {one.backend for one in report.verdicts}


def test_what_is_far_from_exact_enough_is_not_measured_and_has_its_reason(
    machines: Path, wishes: list[Wish]
) -> None:
    report = here(replayed(machines, "h100-every-probe"))
    found = selected(report, objective="balanced").selection
    assert found is not None
    assert "bnb-nf4" not in wishes[0].backends
    nf4 = next(one for one in found.candidates if one.backend == "bnb-nf4")
    assert nf4.lost == "its relative error 0.092 is more than 0.05, what balanced bears"
    selected(report, objective="memory")
    assert "bnb-nf4" in wishes[1].backends


BUSY = "CUDA error: CUDA-capable device(s) is/are busy or unavailable"


def taken(report: Report, code: str, text: str) -> Report:
    """The same report where no probe got onto the GPU."""
    seen = [
        msgspec.structs.replace(one, outcome="skipped", code=code, detail=text, numbers={})
        if (one.device or "").startswith("cuda")
        else one
        for one in report.observations
    ]
    told = judging.judge(report.facts, seen, None, (), matrix=shipped(), plan=Plan())
    return msgspec.structs.replace(
        report, observations=seen, verdicts=told.diagnosis.verdicts, gpu_verdicts=[]
    )


@pytest.mark.parametrize(
    ("code", "text"), [("gpu-busy", BUSY), ("out-of-memory", "CUDA out of memory")]
)
def test_on_a_gpu_that_another_program_has_to_itself_half_is_taken(
    machines: Path, wishes: list[Wish], code: str, text: str
) -> None:
    """EXCLUSIVE_PROCESS mode, or a full GPU: nothing is known, and nothing speaks against half."""
    report = taken(here(replayed(machines, "h100-every-probe")), code, text)
    for objective in ("latency", "balanced", "memory", "accuracy"):
        found = selected(report, objective=objective)
        assert found.selected == "half"
        assert found.selection is not None
        assert (found.selection.selected, found.selection.measured) == ("half", False)
        assert text in found.selection.reason
    assert not wishes
    assert selected(report, deny=["half"]).selected is None
    described = msgspec.structs.replace(report, target=Target(kind="described", chosen_by="-"))
    assert selected(described).selected is None


def test_of_a_gpu_in_slices_the_one_that_cuda_shows_is_measured(
    machines: Path, wishes: list[Wish]
) -> None:
    """MIG: CUDA shows a process one slice, as its first device; the board is none of its own."""
    whole = here(replayed(machines, "h100-every-probe"))
    (gpu,) = whole.facts.gpus or []
    slices = [
        msgspec.structs.replace(gpu, mig="1g.10gb", memory_mib=9856),
        msgspec.structs.replace(gpu, mig="2g.20gb", memory_mib=19968, visible=False, index=None),
    ]
    facts = msgspec.structs.replace(whole.facts, gpus=slices)
    found = selected(msgspec.structs.replace(whole, facts=facts), objective="latency").selection
    assert found is not None
    assert (found.asked.device, found.selected) == ("cuda:0", "torch-fp8")
    assert [one.device for one in wishes] == ["cuda:0"]
    with pytest.raises(BadInput, match=r"cuda:1 is not there: CUDA shows 1 GPU here"):
        selected(msgspec.structs.replace(whole, facts=facts), device="cuda:1")


def test_what_is_not_allowed_is_not_measured(machines: Path, wishes: list[Wish]) -> None:
    report = here(replayed(machines, "h100-every-probe"))
    selected(report, allow=["qdoctor-switchback", "torch-fp8"], deny=["torch-fp8"])
    assert wishes[0].backends == ("half", "qdoctor-switchback")
    selected(report, training=True)
    assert set(wishes[1].backends) == {"half", "bnb-int8", "qdoctor-switchback", "torchao-int8"}
    assert wishes[1].training


def test_given_shapes_counts_and_seconds_go_through(machines: Path, wishes: list[Wish]) -> None:
    some = [(8, 16, 32), (1, 16, 32)]
    report = here(replayed(machines, "h100-every-probe"))
    found = selected(report, shapes=some, counts=[3, 3], budget_seconds=2.5).selection
    assert (wishes[0].shapes, wishes[0].counts, wishes[0].seconds) == (some, [3, 3], 2.5)
    assert found is not None
    assert found.asked.shapes == some


def test_another_gpu_has_its_own_verdicts(machines: Path, wishes: list[Wish]) -> None:
    report = here(replayed(machines, "h200x2-broken-board"))
    selected(report, device="cuda:0")
    assert wishes[0].device == "cuda:0"
    found = selected(report, device="cuda:1").selection
    assert found is not None
    half = next(one for one in found.candidates if one.backend == "half")
    assert half.usable == "no"
    assert len(wishes) == 1  # without half there is nothing to compare with
    assert (found.selected == "half", found.measured) == (False, False)


@pytest.mark.parametrize("device", ["cuda:1", "cuda:9"])
def test_a_gpu_that_is_not_there_is_refused(
    machines: Path, wishes: list[Wish], device: str
) -> None:
    with pytest.raises(BadInput, match=rf"{device} is not there: CUDA shows 1 GPU here"):
        selected(here(replayed(machines, "h100")), device=device)
    assert wishes == []


def test_hidden_gpus_leave_the_cpu(machines: Path, wishes: list[Wish]) -> None:
    found = selected(here(replayed(machines, "h100-hidden"))).selection
    assert found is not None
    assert (found.asked.device, found.device.sm) == ("cpu", None)
    assert found.asked.shapes == shapes.stated("cpu")
    assert all(wish.device == "cpu" for wish in wishes)


def test_where_no_backend_works_on_the_gpu_the_cpu_is_taken_and_that_is_said(
    wishes: list[Wish],
) -> None:
    facts: dict[str, object] = {
        "packages": {"torch": "2.13.0+cpu", "bitsandbytes": "0.50.2", "triton": ""},
        "torch_cuda": "",
        "host": {"os": "linux", "machine": "x86_64", "libc": "glibc 2.39"},
        "python": {"version": "3.12.3"},
        "driver": {"version": "580.95.05", "cuda": "13.0"},
        "gpus": [{"index": 0, "name": "NVIDIA H100 80GB HBM3", "sm": "9.0", "vendor": "nvidia"}],
    }
    report = described(facts)
    assert report.selected is None
    found = selected(report).selection
    assert found is not None
    assert (found.selected, found.asked.device, wishes) == ("bnb-int8", "cpu", [])
    assert found.notes[0].startswith("for the CPU: no backend works on cuda:0: ")
    on_gpu = selected(report, device="cuda").selection
    assert on_gpu is not None
    assert on_gpu.selected is None


def described(facts: dict[str, object]) -> Report:
    whole = msgspec.convert(facts, Facts)
    text = msgspec.json.encode(whole)
    return examine(Question(facts_file="-"), environ={}, stdin=io.BytesIO(text))


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({}, "the machine is described, not here"),
        ({"measure": "never"}, "as asked"),
        ({"measure": "cached"}, "there is no earlier measurement to read"),
    ],
)
def test_what_is_not_measured_says_why(
    machines: Path, wishes: list[Wish], asked: dict[str, object], why: str
) -> None:
    found = selected(replayed(machines, "h100"), **asked).selection
    assert found is not None
    assert (found.measured, found.seconds, wishes) == (False, 0.0, [])
    assert found.notes == [f"nothing was measured: {why}"]
    assert "the probes and the matrix decide" in found.reason


def test_a_gpu_that_is_only_named_is_not_measured(machines: Path, wishes: list[Wish]) -> None:
    report = here(replayed(machines, "h100"))
    found = choose_from(report, Asked(), environ={}, matrix=shipped(), only_named=True).selection
    assert found is not None
    assert found.notes == ["nothing was measured: the GPU or its driver is only named"]
    assert wishes == []


def test_without_probes_nothing_is_measured(machines: Path, wishes: list[Wish]) -> None:
    report = msgspec.structs.replace(here(replayed(machines, "h100")), observations=[])
    found = selected(report).selection
    assert found is not None
    assert found.notes == [
        "nothing was measured: no probe ran, so no backend has shown that it works"
    ]
    assert wishes == []


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"allow": ["bnb-int9"]}, "did you mean bnb-int8"),
        ({"deny": ["nf4"]}, "no backend is called 'nf4'"),
        ({"max_error": 0.0}, "give a positive number"),
        ({"max_error": -1.0}, "give a positive number"),
        ({"budget_seconds": 0.0}, "give a positive number"),
        ({"shapes": [(0, 1, 1)]}, "is no shape"),
        ({"shapes": [(1, 1, 1)], "counts": [1, 2]}, "one for each shape"),
        ({"device": "tpu"}, "'tpu' is no device: give cuda, cuda:N or cpu"),
        ({"device": "cuda:x"}, "is no device"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_done(
    asked: dict[str, object], why: str
) -> None:
    question = msgspec.convert(asked, Asked)
    with pytest.raises(BadInput, match=why):
        check(question, shipped())
    with pytest.raises(BadInput, match=why):
        choose(question, python="/nowhere")


def test_devices_by_torchs_names() -> None:
    assert [number(name) for name in (None, "cuda", "cuda:0", "cuda:7", "cpu")] == [
        0,
        0,
        0,
        7,
        None,
    ]


def test_the_cpu_of_a_machine_with_a_gpu(machines: Path) -> None:
    there = place(replayed(machines, "h100"), "cpu", shipped())
    assert (there.device, there.what) == ("cpu", SelectedFor("the CPU"))
