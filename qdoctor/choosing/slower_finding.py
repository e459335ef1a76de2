"""The finding ``int8-slower-than-half``, from a measurement, for a backend that is asked for. Pure.

That a backend is slow is no problem of a machine: nobody is told of one that was not asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.choosing.objectives import SLOWER
from qdoctor.model import Because, Finding, Fix

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from qdoctor.model import Candidate, Selection


def with_slow(
    findings: Sequence[Finding], selection: Selection, asked_for: Collection[str]
) -> list[Finding]:
    """Add a warning for each backend of ``asked_for`` that was measured to be slower than half.

    It takes the place of a note that rests on the probes' one small product.
    """
    slow = [
        one
        for one in selection.candidates
        if one.backend in asked_for and one.rule == SLOWER and one.speedup_vs_half
    ]
    names = tuple(f"{one.backend} " for one in slow)
    kept = [
        one for one in findings if one.rule != SLOWER or not (names and one.title.startswith(names))
    ]
    return [*kept, *(_finding(one, selection) for one in slow)]


def _finding(one: Candidate, selection: Selection) -> Finding:
    half = next(each for each in selection.candidates if each.backend == "half")
    times = 1 / (one.speedup_vs_half or 1.0)
    where = selection.device.name or "this device"
    took = f"{one.backend} took {one.milliseconds:.3g} ms, half {half.milliseconds:.3g} ms"
    return Finding(
        rule=SLOWER,
        severity="warning",
        title=f"{one.backend} takes {times:.1f} times as long as half on {where}: "
        "it saves memory, not time",
        because=[Because(f"{took}, over the measured shapes", "qdoctor select", "observed")],
        fixes=[Fix("use", _why(selection), backend=_instead(selection, one.backend))],
    )


def _instead(selection: Selection, slow: str) -> str:
    chosen = selection.selected
    return chosen if chosen not in {None, slow} and chosen else "half"


def _why(selection: Selection) -> str:
    return f"for {selection.asked.objective}: {selection.reason}"
