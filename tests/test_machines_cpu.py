"""A recorded CPU with AVX512-BF16 and no GPU: torch 2.13.0+cpu, bitsandbytes 0.50.2, on an EPYC."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from qdoctor.doctor import examine
from qdoctor.model import Report, from_json
from qdoctor.question import Question

if TYPE_CHECKING:
    from pathlib import Path

NAME = "cpu-avx512"


@pytest.fixture
def report(machines: Path) -> Report:
    question = Question(facts_file=str(machines / f"{NAME}.json"))
    return examine(question, environ={}, stdin=io.BytesIO())


def test_the_recorded_report_is_a_complete_replay(machines: Path, report: Report) -> None:
    recorded = from_json((machines / f"{NAME}.json").read_bytes(), Report, NAME)
    assert report.facts == recorded.facts
    assert [one.outcome for one in report.observations] == [
        one.outcome for one in recorded.observations
    ]


def test_it_gets_no_error_and_no_warning(report: Report) -> None:
    assert [one.rule for one in report.findings if one.severity != "note"] == []
    assert report.exit_code == 0


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
    question = Question(facts_file=str(machines / f"{NAME}.json"), need=("bnb-nf4",))
    assert examine(question, environ={}, stdin=io.BytesIO()).exit_code == 0
