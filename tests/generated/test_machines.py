"""Silent on machines where everything fits; the planted fault first on those that have one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import qdoctor
from tests.generated.faults import FAULTS, planted
from tests.generated.machines import healthy

if TYPE_CHECKING:
    from qdoctor.model import Finding

COUNT = 200
MISSED = COUNT * 2 // 100


def loud(findings: list[Finding]) -> list[Finding]:
    return [one for one in findings if one.severity != "note"]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_healthy_machine_gets_no_error_and_no_warning(seed: int) -> None:
    alarms = {
        one.rule: (facts.packages, facts.torch_cuda, facts.gpus, one.title)
        for facts in healthy(COUNT, seed)
        for one in loud(qdoctor.diagnose(facts).findings)
    }
    assert alarms == {}


@pytest.mark.parametrize("seed", [1, 2])
def test_the_planted_cause_is_the_first_finding(seed: int) -> None:
    missed = []
    for case in planted(COUNT, seed):
        findings = qdoctor.diagnose(case.facts, need=case.need).findings
        first = next(iter(loud(findings) or findings), None)
        if first is None or first.rule not in case.rules:
            missed.append((case.fault, first and first.rule, case.facts))
    assert len(missed) <= MISSED, missed


def test_every_kind_of_fault_is_planted() -> None:
    assert {case.fault for case in planted(COUNT)} == {fault.__name__ for fault in FAULTS}


def test_the_same_seed_makes_the_same_machines() -> None:
    assert healthy(20, 3) == healthy(20, 3)
    assert planted(20, 3) == planted(20, 3)
    assert healthy(20, 3) != healthy(20, 4)
