"""The text report of several GPUs: equal ones in one line, what differs in one each."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from qdoctor.model import Facts, Finding, Gpu, GpuVerdicts, Observation, Report, Verdict
from qdoctor.report import render

A100 = Gpu(index=0, name="NVIDIA A100", sm="8.0", memory_mib=81920, vendor="nvidia", visible=True)


def verdicts(count: int, broken: int | None = None) -> list[GpuVerdicts]:
    return [
        GpuVerdicts(
            index=at,
            name="NVIDIA A100",
            sm="8.0",
            selected=None if at == broken else "half",
            verdicts=[Verdict("half", "no" if at == broken else "yes", "why")],
        )
        for at in range(count)
    ]


def ran(at: int, outcome: Any = "passed", **more: Any) -> Observation:  # noqa: ANN401
    fields = {
        "numbers": {"max_rel_error": 0.001 * (at + 1), "milliseconds": 0.2 + at, "tolerance": 0.1},
        "path_taken": f"matmul on cuda:{at}",
        **more,
    }
    return Observation(probe="half_gemm", outcome=outcome, device=f"cuda:{at}", **fields)


def told(report: Report, **changes: Any) -> str:  # noqa: ANN401
    return " ".join(render(msgspec.structs.replace(report, **changes), "text").split())


def test_eight_equal_gpus_take_no_more_lines_than_one(report: Report) -> None:
    def lines(count: int) -> int:
        gpus = [msgspec.structs.replace(A100, index=at) for at in range(count)]
        page = msgspec.structs.replace(
            report,
            facts=Facts(gpus=gpus),
            observations=[ran(at) for at in range(count)],
            gpu_verdicts=verdicts(count) if count > 1 else [],
        )
        return len(render(page, "text").splitlines())

    heading = 3  # the section GPUs: an empty line, its title, one line
    assert lines(8) == lines(1) + heading


def test_what_each_gpu_measured_is_folded_into_a_span(report: Report) -> None:
    text = told(report, observations=[ran(0), ran(1), ran(2)])
    assert "cuda:0-2 - rel. error 0.003 (tolerance 0.1) - 0.2 to 2.2 ms - matmul" in text
    assert "on cuda" not in text


def test_what_failed_on_one_gpu_stands_alone(report: Report) -> None:
    failed = ran(1, "failed", detail="ECC error", path_taken=None, numbers={})
    text = told(report, observations=[ran(0), failed, ran(2)])
    assert "half_gemm - cuda:0, cuda:2 -" in text
    assert "half_gemm - cuda:1 - ECC error" in text


def test_alike_gpus_are_said_to_be(report: Report) -> None:
    assert "cuda:0-7: alike" in told(report, gpu_verdicts=verdicts(8))
    assert "GPUs" not in told(report, gpu_verdicts=[])


def test_a_broken_board_is_shown_beside_the_others(report: Report) -> None:
    text = told(report, gpu_verdicts=verdicts(8, broken=5), selected_on_every_gpu=None)
    assert "cuda:0-4, cuda:6-7 - NVIDIA A100 (SM 8.0) - would use half" in text
    assert "cuda:5 - NVIDIA A100 (SM 8.0) - no backend works - unlike cuda:0: half no" in text
    assert "no backend works on all of them" in text


@pytest.mark.parametrize(
    ("devices", "shown"),
    [([], False), (["cuda:1"], True), (["cuda:0", "cuda:1"], True), (["cuda:0", "cuda:2"], True)],
)
def test_a_finding_names_its_gpus_unless_they_are_all(
    report: Report,
    devices: list[str],
    shown: bool,  # noqa: FBT001
) -> None:
    finding = Finding(rule="a-rule", severity="warning", title="it is so", devices=devices)
    text = told(report, findings=[finding], gpu_verdicts=verdicts(3))
    assert ("a-rule - on cuda:" in text) is shown
    everywhere = [msgspec.structs.replace(finding, devices=[f"cuda:{at}"]) for at in range(3)]
    text = told(report, findings=everywhere, gpu_verdicts=verdicts(3))
    assert text.count("a-rule") == 1
    assert "a-rule - on" not in text


def test_why_a_gpu_is_not_shown(report: Report) -> None:
    hidden = msgspec.structs.replace(A100, index=None, visible=False)
    assert "hidden by CUDA_VISIBLE_DEVICES" in told(report, facts=Facts(gpus=[A100, hidden]))
    shown, part = (msgspec.structs.replace(one, mig="1g.10gb") for one in (A100, hidden))
    slices = Facts(gpus=[shown, part, part])
    text = told(report, facts=slices)
    assert "2 x NVIDIA A100" in text
    assert "not shown: CUDA shows a process one MIG slice" in text
    chosen = msgspec.structs.replace(slices, env={"CUDA_VISIBLE_DEVICES": "MIG-1"})
    assert "hidden by CUDA_VISIBLE_DEVICES" in told(report, facts=chosen)
