"""What "best" means: the four objectives, and the decision among the candidates. Pure.

Times are compared as intervals, median -+ spread. Whatever reaches below the least upper end of all
is as fast as the fastest: that set is one and the same whichever candidate one starts from, which
"differs by less than the spread", taken pair by pair, would not be. Within it the error decides,
then memory, then the name; so noise decides nothing, and a candidate never loses by being faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor.choosing import reasons, unmeasured
from qdoctor.choosing.bounds import ALIKE_BYTES, asked_slowdown, error_bound, usual_slowdown
from qdoctor.choosing.measured import HALF, Figures, compared, figures, lacking
from qdoctor.model import Candidate, Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qdoctor.choosing.measured import Measured
    from qdoctor.matrix import Matrix
    from qdoctor.model import Asked, Objective, Verdict

SLOWER = "int8-slower-than-half"
"""The rule that says so of a backend that is slower than half."""

Field = dict[str, Figures]


def decide(
    asked: Asked, verdicts: Sequence[Verdict], measured: Measured | None, matrix: Matrix
) -> Selection:
    """Choose among the backends; every other one gets the reason why it lost.

    ``verdicts`` are those of the device that was asked about, ``measured`` what the candidates took
    there. Without a measurement of half, which all are compared with, the probes' pass or fail and
    the matrix decide alone, and the reason says so.
    """
    if measured is None or not compared(measured):
        return unmeasured.decide(asked, verdicts, measured, matrix)
    refused = _refused(asked, verdicts, measured, matrix)
    known = {one.backend: figures(measured, one.backend) for one in verdicts}
    every = {name: own for name, own in known.items() if own is not None}
    refused |= _doubtful(asked, every, refused)
    within = {name: own for name, own in every.items() if name not in refused}
    worse = _worse(asked, within) | _too_slow_for_its_bytes(asked, within, every[HALF])
    field = {name: own for name, own in within.items() if name not in worse}
    winner = chosen(asked.objective, field) if field else _last_resort(verdicts, asked)
    return Selection(
        asked=asked,
        selected=winner,
        reason=reasons.won(asked, winner, every, refused),
        candidates=[
            _candidate(one, winner, asked, measured, every=every, refused=refused.get(one.backend))
            for one in verdicts
        ],
        device=measured.device,
        measured=True,
        seconds=measured.seconds,
        notes=list(measured.notes),
        matrix_version=matrix.version,
    )


def chosen(objective: Objective, field: Mapping[str, Figures]) -> str:
    """Return the best of a field that is not empty, by the objective's figures alone."""
    return _CHOOSERS[objective](dict(field))


def score(objective: Objective, own: Figures, half: Figures) -> float:
    """Return what the objective wants least of, against half, which itself has 1."""
    if objective == "balanced":
        return own.ratio * own.bytes_per_weight / half.bytes_per_weight
    return own.ratio


def _fastest(field: Field) -> Field:
    """Keep all that are as fast as the fastest."""
    limit = min(own.most for own in field.values())
    return {name: own for name, own in field.items() if own.least <= limit}


def _latency(field: Field) -> str:
    return _most_exact(_fastest(field))


def _balanced(field: Field) -> str:
    half_bytes = 2.0  # a constant factor: it changes no order
    scaled = {
        name: msgspec.structs.replace(own, ratio=own.ratio * own.bytes_per_weight / half_bytes)
        for name, own in field.items()
    }
    return _most_exact(_fastest(scaled))


def _memory(field: Field) -> str:
    most = ALIKE_BYTES * min(own.bytes_per_weight for own in field.values())
    few = {name: own for name, own in field.items() if own.bytes_per_weight <= most}
    return _most_exact(_fastest(few))


def _accuracy(field: Field) -> str:
    quantized = {name: own for name, own in field.items() if name != HALF} or field
    least = min(_error(own) for own in quantized.values())
    return _most_exact(_fastest({n: own for n, own in quantized.items() if _error(own) == least}))


_CHOOSERS: dict[Objective, Callable[[Field], str]] = {
    "latency": _latency,
    "balanced": _balanced,
    "memory": _memory,
    "accuracy": _accuracy,
}


def _most_exact(field: Field) -> str:
    return min(field, key=lambda name: (_error(field[name]), _size(field[name]), name))


def _error(own: Figures) -> float:
    """Round to two digits: what data of one seed leaves open is not to decide."""
    return float(f"{own.error:.1e}")


def _size(own: Figures) -> float:
    """Round to hundredths of a byte: scales of a row or a block of rows are no difference."""
    return round(own.bytes_per_weight, 2)


def _worse(asked: Asked, field: Field) -> set[str]:
    """Name what half rules out: the slower for latency and accuracy, the costlier for balanced.

    Nothing where half itself is no candidate. For accuracy, as fast within the spread will do.
    """
    half = field.get(HALF)
    if half is None or asked.objective == "memory":
        return set()
    return {name for name, own in field.items() if name != HALF and _loses(asked, own, half)}


def _too_slow_for_its_bytes(asked: Asked, field: Field, half: Figures) -> set[str]:
    """Name what takes longer than the objective bears, if anything else takes less than half."""
    usual = usual_slowdown(asked)
    slow = {name for name, own in field.items() if own.slowdown > usual}
    others = [own for name, own in field.items() if name not in slow and _size(own) < _size(half)]
    return slow if others else set()


def _loses(asked: Asked, own: Figures, half: Figures) -> bool:
    if asked.objective == "accuracy":
        return is_slower(own, half)
    if asked.objective == "latency":
        return own.slowdown > 1.0
    return score(asked.objective, own, half) > 1.0


def _doubtful(asked: Asked, every: Field, refused: Mapping[str, str]) -> dict[str, str]:
    """Refuse what only a disturbed measurement shows to be better than half.

    Spreads are then taken as they are: who does not know gives up no precision. Where half is
    denied, and for memory, no time decides against half.
    """
    if HALF in refused or asked.objective == "memory":
        return {}
    half = every[HALF]
    return {
        name: reasons.in_doubt(own, half)
        for name, own in every.items()
        if name != HALF and name not in refused and (own.disturbed or half.disturbed)
        if 1 - half.spread < score(asked.objective, own, half) * (1 + own.spread)
        if not _loses(asked, own, half)
    }


def is_slower(own: Figures, half: Figures) -> bool:
    """Say whether a candidate is slower than half by more than both spreads."""
    if own.disturbed or half.disturbed:
        return own.ratio * (1 - own.spread) > half.ratio * (1 + half.spread)
    return own.least > half.most


def _refused(
    asked: Asked, verdicts: Sequence[Verdict], measured: Measured, matrix: Matrix
) -> dict[str, str]:
    """Say of each backend that is no candidate why not; half is bound by no error bound."""
    refused: dict[str, str] = {}
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
            refused[one.backend] = reason
    return refused


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


def _last_resort(verdicts: Sequence[Verdict], asked: Asked) -> str | None:
    """Half, where nothing is left but half works; it is denied only by name."""
    half = next((one for one in verdicts if one.backend == HALF), None)
    usable = half is not None and half.usable == "yes" and HALF not in (asked.deny or ())
    return HALF if usable else None


def _candidate(  # noqa: PLR0913 - what there is to say of one
    verdict: Verdict,
    winner: str | None,
    asked: Asked,
    measured: Measured,
    *,
    every: Field,
    refused: str | None,
) -> Candidate:
    name = verdict.backend
    broken = measured.failed.get(name)
    own = None if broken else every.get(name)
    half = every[HALF]
    slow = own is not None and name != HALF and is_slower(own, half)
    lost = None if name == winner else refused or reasons.lost(asked, name, winner, every)
    return Candidate(
        backend=name,
        usable="no" if broken else verdict.usable,
        reason=broken or verdict.reason,
        lost=lost,
        rule=SLOWER if slow and not refused else verdict.rule,
        rel_error=own.error if own else verdict.rel_error,
        milliseconds=own.milliseconds if own else None,
        speedup_vs_half=own.speedup if own else None,
        spread=own.spread if own else None,
        weight_bytes_per_param=own.bytes_per_weight if own else verdict.weight_bytes_per_param,
        shapes=measured.timed.get(name, []),
    )
