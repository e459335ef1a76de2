"""Recorded real machines, replayed: whole reports of one H100, healthy and broken on purpose.

``h100``: torch 2.11+cu130, triton 3.6.0, bitsandbytes 0.50.2, driver 580.159.04.
``-broken-cublaslt``: a
text file stands where libcublasLt.so.13 is looked for. ``-broken-compiler``: CC=/bin/false.
``-broken-torch``: a torch that raises ImportError comes first on PYTHONPATH. ``-hidden``:
CUDA_VISIBLE_DEVICES is empty.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from qdoctor.doctor import examine
from qdoctor.model import Report, from_json
from qdoctor.probes import catalog
from qdoctor.question import Question

if TYPE_CHECKING:
    from pathlib import Path

RECORDED = (
    "h100",
    "h100-every-probe",
    "h100-broken-cublaslt",
    "h100-broken-compiler",
    "h100-broken-torch",
)


def replay(machines: Path, name: str, *need: str) -> Report:
    question = Question(facts_file=str(machines / f"{name}.json"), need=need)
    return examine(question, environ={}, stdin=io.BytesIO())


def errors(report: Report) -> list[str]:
    return [one.rule for one in report.findings if one.severity != "note"]


def usable(report: Report) -> dict[str, str]:
    return {one.backend: one.usable for one in report.verdicts}


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_report_is_a_complete_replay(machines: Path, name: str) -> None:
    recorded = from_json((machines / f"{name}.json").read_bytes(), Report, name)
    again = replay(machines, name)
    assert again.facts == recorded.facts
    assert [one.outcome for one in again.observations] == [
        one.outcome for one in recorded.observations
    ]


def test_a_healthy_h100_gets_no_error_and_no_warning(machines: Path) -> None:
    report = replay(machines, "h100")
    assert (errors(report), report.exit_code) == ([], 0)
    assert usable(report)["bnb-int8"] == usable(report)["half"] == "yes"
    assert usable(report)["bnb-switchback"] == "no"
    assert report.selected == "qdoctor-switchback"


def test_all_four_kernels_passed_on_the_h100(machines: Path) -> None:
    report = replay(machines, "h100")
    passed = {(one.probe, one.variant) for one in report.observations if one.outcome == "passed"}
    assert passed == {
        ("cublaslt_igemm", "row-major"),
        ("half_gemm", "half"),
        ("switchback_forward", "qdoctor"),
        ("triton_libdevice", "llrint"),
    }
    legacy = [one for one in report.observations if one.code == "no-algorithm"]
    assert {one.expected for one in legacy} == {"fail"}
    assert len(legacy) == 2


def test_a_broken_cublaslt_takes_int8_away_and_nothing_else(machines: Path) -> None:
    report = replay(machines, "h100-broken-cublaslt")
    assert report.exit_code == 1
    assert report.findings[0].rule == "probe-contradicts-matrix"
    assert "file too short" in report.findings[0].because[0].text
    assert usable(report)["bnb-int8"] == "no"
    assert usable(report)["bnb-nf4"] == usable(report)["qdoctor-switchback"] == "yes"


def test_a_broken_compiler_takes_triton_away(machines: Path) -> None:
    report = replay(machines, "h100-broken-compiler")
    failed = {
        one.probe
        for one in report.observations
        if one.outcome == "failed" and one.code != "no-algorithm"
    }
    assert failed == {"switchback_forward", "triton_libdevice"}
    assert report.exit_code == 1
    assert usable(report)["qdoctor-switchback"] == "no"
    assert report.selected == "bnb-int8"


def test_a_torch_that_does_not_import_leaves_nothing_and_is_an_error(machines: Path) -> None:
    report = replay(machines, "h100-broken-torch")
    assert report.exit_code == 1
    assert report.selected is None
    assert "yes" not in usable(report).values()
    assert "libcudart.so.13" in report.findings[0].because[0].text


def test_a_hidden_gpu_is_a_note_until_it_is_needed(machines: Path) -> None:
    assert replay(machines, "h100-hidden").exit_code == 0
    needed = replay(machines, "h100-hidden", "gpu")
    assert needed.exit_code == 1
    assert needed.findings[0].rule == "no-cuda-gpu"
    assert needed.findings[0].fixes[0].name == "CUDA_VISIBLE_DEVICES"


def test_every_probe_ran_on_the_h100(machines: Path) -> None:
    report = replay(machines, "h100-every-probe")
    assert (errors(report), report.exit_code) == ([], 0)
    surprises = [one for one in report.observations if one.expected == "pass" != one.outcome[:4]]
    assert surprises == []
    probes = {one.probe for one in report.observations}
    assert probes == {kernel.name for kernel in catalog.read()}
    passed = {one.probe for one in report.observations if one.outcome == "passed"}
    assert passed == probes
    expected_not_to = {
        (one.probe, one.variant) for one in report.observations if one.expected == "fail"
    }
    assert expected_not_to >= {
        ("bnb_int8", "matmul-odd-k"),
        ("cublaslt_igemm", "col4_4r2_8c"),
        ("cublaslt_igemm", "col32_2r_4r4"),
        ("torchao_int8", "awkward"),
    }


def test_every_probe_says_what_it_cost_and_kept_within_its_gpu_memory(machines: Path) -> None:
    kernels = {kernel.name: kernel.header for kernel in catalog.read()}
    for one in replay(machines, "h100-every-probe").observations:
        assert one.numbers["seconds"] < kernels[one.probe].seconds
        assert one.numbers["peak_mib"] < kernels[one.probe].memory_mib
        assert one.numbers.get("gpu_mib", 0) <= kernels[one.probe].gpu_mib


def test_what_ran_at_less_than_half_the_speed_of_half_is_not_selected(machines: Path) -> None:
    report = replay(machines, "h100-every-probe")
    measured = {one.backend: one.speedup_vs_half for one in report.verdicts}
    assert (measured["bnb-int8"] or 0) < 0.5
    assert report.selected == "qdoctor-switchback"
