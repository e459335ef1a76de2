"""What the probe ``triton_toolchain`` tried out, before what was read of the same parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import Answer
from qdoctor.rules.affected import launches_kernels
from qdoctor.rules.observed import what_happened

if TYPE_CHECKING:
    from qdoctor.model import Observation
    from qdoctor.released import Known
    from qdoctor.rules.case import Case

PROBE = "triton_toolchain"


def of_part(case: Case, rule: str, variant: str, read: Known[bool], what: str) -> Answer:
    """Ask for one part: what was tried out here decides, else what was read.

    A part that is missing is no answer of ``rule`` where triton starts no kernels.
    """
    for seen in _tried(case, variant):
        if seen.code == rule and launches_kernels(case, rule):
            return Answer("no", seen.detail, (what_happened(seen),), rule)
        if seen.outcome == "passed":
            return Answer("yes", what, (what_happened(seen),))
    if read.value is None:
        return Answer("unknown", read.reason)
    because = (read.because,) if read.because else ()
    missing = read.value is False and launches_kernels(case, rule)
    return Answer("no" if missing else "yes", what, because, rule)


def _tried(case: Case, variant: str) -> list[Observation]:
    return [one for one in case.observations if (one.probe, one.variant) == (PROBE, variant)]
