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
    assert (report.selected, report.exit_code) == ("half", 0)
