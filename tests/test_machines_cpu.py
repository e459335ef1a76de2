"""Recorded machines without a GPU: an EPYC with AVX512-BF16 and one with AVX2 alone, on busy cores.

Both have torch 2.13.0+cpu, triton 3.7.1 and bitsandbytes 0.50.2. On the first one, which is the
older record, our SwitchBack was only compiled.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from qdoctor.doctor import examine
from qdoctor.model import Report, from_json
from qdoctor.question import Question

if TYPE_CHECKING:
    from pathlib import Path

NAME, AVX2 = "cpu-avx512", "cpu-avx2"
OURS = "qdoctor-switchback"


def replayed(machines: Path, name: str, *need: str) -> Report:
    question = Question(facts_file=str(machines / f"{name}.json"), need=need)
    return examine(question, environ={}, stdin=io.BytesIO())


@pytest.fixture
def report(machines: Path) -> Report:
    return replayed(machines, NAME)


@pytest.mark.parametrize("name", [NAME, AVX2])
def test_the_recorded_report_is_a_complete_replay(machines: Path, name: str) -> None:
    report = replayed(machines, name)
    recorded = from_json((machines / f"{name}.json").read_bytes(), Report, name)
    assert report.facts == recorded.facts
    assert [one.outcome for one in report.observations] == [
        one.outcome for one in recorded.observations
    ]


@pytest.mark.parametrize("name", [NAME, AVX2])
def test_it_gets_no_error_and_no_warning_and_the_missing_gpu_is_told(
    machines: Path, name: str
) -> None:
    report = replayed(machines, name)
    assert [one.rule for one in report.findings if one.severity != "note"] == []
    assert "no-cuda-gpu" in [one.rule for one in report.findings]
    assert report.exit_code == 0


def test_our_switchback_ran_there_as_expected_and_is_judged_by_that(machines: Path) -> None:
    report = replayed(machines, AVX2)
    (ran,) = (
        one
        for one in report.observations
        if (one.probe, one.variant, one.device) == ("switchback_forward", "qdoctor", "cpu")
    )
    assert (ran.outcome, ran.expected) == ("passed", "pass")
    assert ran.path_taken == "float32 on cpu, torch.bfloat16"
    verdict = next(one for one in report.verdicts if one.backend == OURS)
    assert (verdict.usable, verdict.measured_on) == ("yes", "the CPU, 64 rows of 1024 to 512")
    told = next(one for one in report.findings if one.rule == "no-cuda-gpu")
    assert OURS not in told.affects
    assert "torchao-nvfp4" in told.affects


def test_where_it_was_only_compiled_nothing_is_called_measured(report: Report) -> None:
    verdict = next(one for one in report.verdicts if one.backend == OURS)
    assert (verdict.usable, verdict.measured_on) == ("yes", None)
    assert "not run here" in verdict.reason


@pytest.mark.parametrize(("need", "code"), [(OURS, 0), ("gpu", 1), ("bnb-switchback", 1)])
def test_what_is_needed_is_met_or_not_there(machines: Path, need: str, code: int) -> None:
    assert replayed(machines, AVX2, need).exit_code == code


def test_4_bit_is_usable_there_and_its_limit_is_told(report: Report) -> None:
    seen = {one.variant: one for one in report.observations if one.probe == "bnb_4bit"}
    assert {name: (one.outcome, one.expected) for name, one in seen.items()} == {
        **dict.fromkeys(("nf4", "fp4", "nf4-double-quant"), ("passed", "pass")),
        **dict.fromkeys(("nf4-uneven", "fp4-uneven"), ("wrong", "fail")),
    }
    verdict = next(one for one in report.verdicts if one.backend == "bnb-nf4")
    assert (verdict.usable, verdict.measured_on) == ("yes", "the CPU, 64 rows of 1024 to 512")
    assert "a multiple of 16 and not of 64" in verdict.reason


def test_what_is_silently_wrong_there_is_named_with_what_ran(report: Report) -> None:
    found = [one for one in report.findings if one.rule == "bnb-version-regression"]
    sizes, packing = found
    assert "a multiple of 16 and not of 64" in sizes.title
    assert "bnb_4bit (nf4-uneven) on cpu: wrong" in sizes.because[-1].text
    assert "Linear4bit after its first forward" in packing.title


def test_a_need_of_4_bit_is_met_there(machines: Path) -> None:
    assert replayed(machines, NAME, "bnb-nf4").exit_code == 0
