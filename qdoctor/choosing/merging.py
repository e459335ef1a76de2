"""One backend for several kinds of device: what is usable on each, judged where it is worst. Pure.

For every candidate and shape the time over half's is taken from the device on which it is largest,
the error and the bytes likewise; over these the objective decides as it does for one device. Where
any of them was not measured, or other shapes were, the verdicts and the matrix decide alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor.choosing import objectives
from qdoctor.choosing.last_resort import or_half
from qdoctor.choosing.measured import HALF, Measured, measured_in
from qdoctor.model import SelectedFor, Selection, Timed, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.matrix import Matrix
    from qdoctor.model import Candidate, YesNo

_WORST_FIRST: tuple[YesNo, ...] = ("no", "unknown", "yes")


def merged(selections: Sequence[Selection], matrix: Matrix) -> Selection:
    """Return the selection for all devices together; that of one device as it is."""
    first = selections[0]
    if len(selections) == 1:
        return first
    names = list(dict.fromkeys(one.device.name or "a CPU" for one in selections))
    verdicts = [
        _verdict([_candidate(one, own.backend) for one in selections], selections)
        for own in first.candidates
    ]
    decided = or_half(objectives.decide(first.asked, verdicts, _measured(selections), matrix))
    rule = "it must be usable on each, and is judged where it does worst"
    return msgspec.structs.replace(
        decided,
        device=SelectedFor(" and ".join(names)),
        notes=[*decided.notes, f"agreed for {' and '.join(names)}: {rule}"],
        tool_version=first.tool_version,
    )


def _candidate(selection: Selection, backend: str) -> Candidate | None:
    return next((one for one in selection.candidates if one.backend == backend), None)


def _verdict(each: Sequence[Candidate | None], selections: Sequence[Selection]) -> Verdict:
    """Join what was found of one backend everywhere: the worst answer counts, with its device."""
    worst = min(range(len(each)), key=lambda at: _rank(each[at]))
    told, where = each[worst], selections[worst].device.name or "a CPU"
    known = [one for one in each if one is not None]
    name = known[0].backend
    if told is None:
        return Verdict(backend=name, usable="unknown", reason=f"not judged on {where}")
    errors = [one.rel_error for one in known if one.rel_error is not None]
    sizes = [one.weight_bytes_per_param for one in known if one.weight_bytes_per_param is not None]
    return Verdict(
        backend=name,
        usable=told.usable,
        reason=told.reason if told.usable == "yes" else f"on {where}: {told.reason}",
        rule=told.rule,
        rel_error=max(errors, default=None),
        weight_bytes_per_param=max(sizes, default=None),
        measured_on=where if all(one.shapes for one in known) else None,
    )


def _rank(one: Candidate | None) -> int:
    return _WORST_FIRST.index(one.usable) if one is not None else _WORST_FIRST.index("unknown")


def _measured(selections: Sequence[Selection]) -> Measured | None:
    every = [measured_in(one) for one in selections if one.measured]
    if len(every) < len(selections) or any(one.shapes != every[0].shapes for one in every):
        return None
    if any(HALF not in one.timed for one in every):
        return None
    first = every[0]
    longest = max(every, key=lambda one: one.seconds)
    shared = [name for name in first.timed if all(name in one.timed for one in every)]
    return msgspec.structs.replace(
        first,
        timed={name: _worst(name, every) for name in shared},
        failed={name: why for one in every for name, why in one.failed.items()},
        seconds=longest.seconds,
        starting_seconds=longest.starting_seconds,
        notes=list(dict.fromkeys(note for one in every for note in one.notes)),
    )


def _worst(name: str, every: Sequence[Measured]) -> list[Timed]:
    """For each shape the entry of the device with the largest time over half's, at half's time."""
    return [
        _at([(one.timed[name][at], one.timed[HALF][at]) for one in every], every[0].timed[HALF][at])
        for at in range(len(every[0].shapes))
    ]


def _at(pairs: Sequence[tuple[Timed, Timed]], reference: Timed) -> Timed:
    if any(not own.milliseconds or not half.milliseconds for own, half in pairs):
        return next(own for own, half in pairs if not own.milliseconds or not half.milliseconds)
    own, half = max(
        pairs, key=lambda pair: (pair[0].milliseconds or 0) / (pair[1].milliseconds or 1)
    )
    scale = (reference.milliseconds or 0) / (half.milliseconds or 1)
    errors = [one.rel_error for one, _ in pairs if one.rel_error is not None]
    return msgspec.structs.replace(
        own,
        milliseconds=_scaled(own.milliseconds, scale),
        p10=_scaled(own.p10, scale),
        p90=_scaled(own.p90, scale),
        rel_error=max(errors, default=None),
    )


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale
