"""Thought alone: from facts and observations to findings and verdicts, touching no machine.

Apart from ``doctor``, which loads it while it waits for the examined interpreter: the rules take as
long to import as that interpreter takes to answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor import diagnosis, expectation, plan_verdict, verdicts_per_gpu
from qdoctor.commands import written_for
from qdoctor.fitting import possible_first
from qdoctor.fix_order import smallest_first
from qdoctor.machine import complete
from qdoctor.missing_facts import with_missing_facts
from qdoctor.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.exit_code import Need
    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix
    from qdoctor.model import Diagnosis, Facts, Finding, Observation, PlanVerdict
    from qdoctor.plan import Plan


class Opinion(msgspec.Struct, frozen=True):
    """What is thought of one machine; ``observations`` say what was expected of them.

    ``plan`` is the verdict on a plan, ``plan_needs`` what it needs; ``failed`` says that a rule of
    ours raised.
    """

    diagnosis: Diagnosis
    observations: list[Observation]
    plan: PlanVerdict | None
    plan_needs: list[Need]
    failed: bool


def judge(  # noqa: PLR0913 - the question has these parts
    facts: Facts,
    observations: Sequence[Observation],
    error: str | None,
    need: Sequence[str],
    *,
    matrix: Matrix,
    plan: Plan,
    interpreter: str | None = None,
) -> Opinion:
    """Diagnose a machine, give every backend a verdict, and judge the plan if there is one.

    ``interpreter`` is the examined one where a person's ``python`` is another: commands name it.
    """
    seen = list(observations)
    if seen:
        seen = expectation.annotate(seen, complete(facts, matrix), matrix)
    machine, findings = diagnosis.diagnose(facts, seen, error, need, matrix, refused=plan.problems)
    findings = with_missing_facts(
        [_with_fitting_fixes(one, machine, matrix, interpreter) for one in findings], machine
    )
    answer = verdicts_per_gpu.judge(machine, seen, findings, matrix)
    planned = plan_verdict.judge(plan, machine, answer.verdicts, matrix)
    return Opinion(
        answer,
        seen,
        planned,
        list(plan_verdict.needs(planned)),
        any(one.rule == diagnosis.RULE_FAILED for one in findings),
    )


def _with_fitting_fixes(
    finding: Finding, machine: Machine, matrix: Matrix, interpreter: str | None
) -> Finding:
    """Order the fixes, and write their commands for this machine and the tool that manages it."""
    offered = possible_first(smallest_first(finding.fixes), machine, matrix)
    fixes = [written_for(fix, machine, interpreter) for fix in offered]
    return msgspec.structs.replace(finding, fixes=fixes)


def documentation() -> dict[str, str]:
    """What each rule means, by its name."""
    return {rule.name: rule.doc for rule in RULES}
