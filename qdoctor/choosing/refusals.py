"""Who is no candidate, or is ruled out by half, and why. Pure.

``refused`` gives reasons that hold whatever the others take; ``ruled_out`` names those that lose
against half by what the objective wants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.choosing import reasons, unmeasured
from qdoctor.choosing.bounds import asked_slowdown, error_bound, usual_slowdown
from qdoctor.choosing.measured import HALF, Figures, compared, figures, lacking

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdoctor.choosing.measured import Measured
    from qdoctor.matrix import Matrix
    from qdoctor.model import Asked, Objective, Verdict

Field = dict[str, Figures]


def refused(
    asked: Asked, verdicts: Sequence[Verdict], measured: Measured, matrix: Matrix
) -> dict[str, str]:
    """Say of each backend that is no candidate why not; half is bound by no error bound."""
    told: dict[str, str] = {}
    for one in verdicts:
        own = figures(measured, one.backend)
        reason = (
            unmeasured.refused(asked, one, matrix)
            or (one.backend != HALF and not one.measured_on and reasons.NO_PROBE)
            or measured.failed.get(one.backend)
            or (own is None and one.backend != HALF and _too_inexact(one.rel_error, asked))
            or (own is None and reasons.lacks(lacking(measured, one.backend)))
            or (own is not None and one.backend != HALF and _too_inexact(own.error, asked))
            or (own is not None and one.backend != HALF and _too_slow(own, asked))
            or (own is not None and one.backend != HALF and _changes_nothing(measured, one.backend))
        )
        if reason:
            told[one.backend] = reason
    return told


def _too_inexact(error: float | None, asked: Asked) -> str:
    limit = error_bound(asked)
    return "" if error is None or error <= limit else reasons.too_inexact(error, limit, asked)


def _too_slow(own: Figures, asked: Asked) -> str:
    return reasons.too_slow(own, asked) if own.slowdown > asked_slowdown(asked) else ""


def _changes_nothing(measured: Measured, backend: str) -> str:
    timed = [measured.timed[backend][at] for at in compared(measured)]
    if not all(one.left for one in timed):
        return ""
    return f"it would leave every one of these layers in half precision: {timed[0].left}"


def doubtful(asked: Asked, every: Field, refused: Mapping[str, str]) -> dict[str, str]:
    """Refuse what only a disturbed measurement shows to be better than half.

    One whose times spread so wide is one too: who does not know gives up no precision. Where half
    is denied, and for memory, no time decides against half.
    """
    if HALF in refused or asked.objective == "memory":
        return {}
    half = every[HALF]
    return {
        name: reasons.in_doubt(own, half)
        for name, own in every.items()
        if name != HALF and name not in refused and (own.unsteady or half.unsteady)
        if 1 - half.spread < score(asked.objective, own, half) * (1 + own.spread)
        if not _loses(asked, own, half)
    }


def ruled_out(asked: Asked, field: Field, half: Figures) -> set[str]:
    """Name those of a field that lose against half, or take too long for what they save."""
    return _worse(asked, field) | _too_slow_for_its_bytes(asked, field, half)


def _worse(asked: Asked, field: Field) -> set[str]:
    """Name what half rules out: the slower for latency and accuracy, the costlier for balanced.

    Nothing where half itself is no candidate. For accuracy, as fast within the spread will do.
    """
    half = field.get(HALF)
    if half is None or asked.objective == "memory":
        return set()
    return {name for name, own in field.items() if name != HALF and _loses(asked, own, half)}


def _loses(asked: Asked, own: Figures, half: Figures) -> bool:
    if asked.objective == "accuracy":
        return is_slower(own, half)
    if asked.objective == "latency":
        return own.slowdown > 1.0
    return score(asked.objective, own, half) > 1.0


def _too_slow_for_its_bytes(asked: Asked, field: Field, half: Figures) -> set[str]:
    """Name what takes longer than the objective bears, if anything else takes less than half."""
    usual = usual_slowdown(asked)
    slow = {name for name, own in field.items() if own.slowdown > usual}
    others = [
        own for name, own in field.items() if name not in slow and own.sure_size < half.sure_size
    ]
    return slow if others else set()


def is_slower(own: Figures, half: Figures) -> bool:
    """Say whether a candidate is slower than half by more than both spreads."""
    return own.least > half.most


def score(objective: Objective, own: Figures, half: Figures) -> float:
    """Return what the objective wants least of, against half, which itself has 1."""
    if objective == "balanced":
        return own.ratio * own.bytes_per_weight / half.bytes_per_weight
    return own.ratio
