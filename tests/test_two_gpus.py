"""One host with two H200, recorded and replayed: whole, hidden in part, one of them broken.

torch 2.11+cu130, triton 3.6.0, bitsandbytes 0.50.2, torchao 0.18.0. ``h200x2`` as it is,
``-second`` with CUDA_VISIBLE_DEVICES=1, ``-broken-board`` with wrong numbers injected into
half_gemm on cuda:1 (its evidence says so).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import msgspec
import pytest

from qdoctor.doctor import examine
from qdoctor.model import GpuVerdicts, Report, from_json
from qdoctor.question import Question
from qdoctor.report import render

if TYPE_CHECKING:
    from pathlib import Path

RECORDED = ("", "-second", "-broken-board")


def replay(machines: Path, name: str) -> Report:
    question = Question(facts_file=str(machines / f"h200x2{name}.json"))
    return examine(question, environ={}, stdin=io.BytesIO())


def usable_indices(report: Report) -> list[int | None]:
    return [gpu.index for gpu in report.facts.gpus or [] if gpu.visible]


def of_backends_known_then(again: Report, recorded: Report) -> list[GpuVerdicts]:
    """Leave out the backends that came after the recording."""
    then = {one.backend for one in recorded.verdicts}
    return [
        msgspec.structs.replace(gpu, verdicts=[one for one in gpu.verdicts if one.backend in then])
        for gpu in again.gpu_verdicts
    ]


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_report_is_a_complete_replay(machines: Path, name: str) -> None:
    path = machines / f"h200x2{name}.json"
    recorded, again = from_json(path.read_bytes(), Report, path.name), replay(machines, name)
    assert again.facts == recorded.facts
    assert again.observations == recorded.observations
    assert of_backends_known_then(again, recorded) == recorded.gpu_verdicts
    assert (again.selected, again.exit_code) == (recorded.selected, recorded.exit_code)


def test_both_gpus_are_probed_and_alike(machines: Path) -> None:
    report = replay(machines, "")
    assert usable_indices(report) == [0, 1]
    first, second = (
        {
            (one.probe, one.variant, one.outcome, one.expected)
            for one in report.observations
            if one.device == device
        }
        for device in ("cuda:0", "cuda:1")
    )
    assert {probe for probe, *_ in first - second} <= {"triton_toolchain"}  # asked of a host once
    assert set() != second <= first
    assert [one.index for one in report.gpu_verdicts] == [0, 1]
    assert report.selected == report.selected_on_every_gpu is not None
    assert all(one.devices == [] for one in report.findings if one.severity != "note")
    assert report.exit_code == 0
    assert "cuda:0-1: alike" in render(report, "text")


def test_a_hidden_gpu_is_named_and_not_probed(machines: Path) -> None:
    report = replay(machines, "-second")
    assert usable_indices(report) == [0]
    assert [gpu.visible for gpu in report.facts.gpus or []] == [True, False]
    assert "cuda:1" not in {one.device for one in report.observations}
    assert report.gpu_verdicts == []
    assert report.selected is not None


def test_a_broken_board_is_found_beside_a_healthy_one(machines: Path) -> None:
    report = replay(machines, "-broken-board")
    (bad,) = [one for one in report.findings if one.severity == "error"]
    assert (bad.rule, bad.devices) == ("probe-contradicts-matrix", ["cuda:1"])
    assert bad.fixes[0].action == "change-hardware"
    healthy, broken = (
        {verdict.backend: verdict.usable for verdict in gpu.verdicts} for gpu in report.gpu_verdicts
    )
    assert (healthy["half"], broken["half"]) == ("yes", "no")
    assert report.exit_code == 1
    (harmed,) = [
        one for one in report.observations if one.probe == "half_gemm" and one.outcome == "wrong"
    ]
    assert harmed.device == "cuda:1"
    assert any(text.startswith("injected: ") for text in harmed.evidence)
