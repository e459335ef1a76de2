"""Thought alone: from facts and observations to findings and verdicts, touching no machine.

Apart from ``doctor``, which loads it while it waits for the examined interpreter: the rules take as
long to import as that interpreter takes to answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor import diagnosis, expectation, plan_verdict, verdicts_per_gpu
from qdoctor.machine import complete
from qdoctor.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.exit_code import Need
    from qdoctor.matrix import Matrix
    from qdoctor.model import Diagnosis, Facts, Observation, PlanVerdict
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
) -> Opinion:
    """Diagnose a machine, give every backend a verdict, and judge the plan if there is one."""
    seen = expectation.annotate(list(observations), complete(facts, matrix), matrix)
    machine, findings = diagnosis.diagnose(facts, seen, error, need, matrix, refused=plan.problems)
    answer = verdicts_per_gpu.judge(machine, seen, findings, matrix)
    planned = plan_verdict.judge(plan, machine, answer.verdicts, matrix)
    return Opinion(
        answer,
        seen,
        planned,
        list(plan_verdict.needs(planned)),
        any(one.rule == diagnosis.RULE_FAILED for one in findings),
    )


def documentation() -> dict[str, str]:
    """What each rule means, by its name."""
    return {rule.name: rule.doc for rule in RULES}
