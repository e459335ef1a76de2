"""What "best" means: the four objectives, and the decision among the candidates. Pure.

Times are compared as intervals, median -+ spread. Whatever reaches below the least upper end of all
is as fast as the fastest: that set is one and the same whichever candidate one starts from, which
"differs by less than the spread", taken pair by pair, would not be. Within it the error decides,
then memory, then the name; so noise decides nothing, and a candidate never loses by being faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor.choosing import reasons, refusals, unmeasured
from qdoctor.choosing.bounds import ALIKE_BYTES
from qdoctor.choosing.measured import HALF, Figures, compared, figures
from qdoctor.choosing.refusals import is_slower
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
    refused = refusals.refused(asked, verdicts, measured, matrix)
    known = {one.backend: figures(measured, one.backend) for one in verdicts}
    every = {name: own for name, own in known.items() if own is not None}
    refused |= refusals.doubtful(asked, every, refused)
    within = {name: own for name, own in every.items() if name not in refused}
    worse = refusals.ruled_out(asked, within, every[HALF])
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
        starting_seconds=measured.starting_seconds,
        notes=list(measured.notes),
        matrix_version=matrix.version,
    )


def chosen(objective: Objective, field: Mapping[str, Figures]) -> str:
    """Return the best of a field that is not empty, by the objective's figures alone."""
    return _CHOOSERS[objective](dict(field))


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
    least = min(own.sure_error for own in quantized.values())
    return _most_exact(
        _fastest({n: own for n, own in quantized.items() if own.sure_error == least})
    )


_CHOOSERS: dict[Objective, Callable[[Field], str]] = {
    "latency": _latency,
    "balanced": _balanced,
    "memory": _memory,
    "accuracy": _accuracy,
}


def _most_exact(field: Field) -> str:
    return min(field, key=lambda name: (field[name].sure_error, field[name].sure_size, name))


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
