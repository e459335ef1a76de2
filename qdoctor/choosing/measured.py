"""What measuring the candidates gave, and what that comes to against half. Pure.

Every candidate is compared with half over the same shapes: those at which half was measured. One
that lacks a figure at any of them is not compared at all, since a mean over fewer shapes would
flatter or wrong it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from qdoctor.model import Noun, SelectedFor, Shape, Timed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.model import Selection

HALF = "half"
WIDEST = 0.1
"""A wider spread may come of a disturbed machine though no core was taken (a slower clock, another
machine's share, a full memory bus), or be that of calls so short that launching them varies. What
it leaves open is then no advantage."""


class Measured(Noun, frozen=True):
    """All figures of one measurement.

    ``timed`` holds for each backend one entry a shape, in the order of ``shapes``; ``failed`` why
    a backend gave none at all, or broke down. ``counts`` weigh the shapes (None: alike).
    ``notes`` say what was left out and under which conditions; ``seconds`` is the wall time of all,
    ``starting_seconds`` what of it went by before every package was imported.
    """

    shapes: list[Shape]
    timed: dict[str, list[Timed]]
    failed: dict[str, str] = {}
    counts: list[int] | None = None
    device: SelectedFor = SelectedFor()
    seconds: float = 0.0
    starting_seconds: float = 0.0
    notes: list[str] = []


class Figures(msgspec.Struct, frozen=True):
    """A candidate against half, over all compared shapes.

    ``ratio`` is its time over half's, the geometric mean over the shapes; where the shapes are a
    model's, which its counts tell, over its numbers of rows, each with the time of all layers.
    ``total_ratio`` is that of the summed times, ``device_ratio`` the geometric mean of what the
    device itself takes, launching left out; ``spread`` the mean of the shapes' relative
    half-widths, which bounds that of a mean; ``disturbed``: at some shape other programs had the
    cores. Units: milliseconds, bytes a weight.
    """

    milliseconds: float
    ratio: float
    speedup: float
    total_ratio: float
    device_ratio: float
    spread: float
    error: float
    bytes_per_weight: float
    disturbed: bool = False

    @property
    def slowdown(self) -> float:
        """How many times half's time it takes: over the shapes or in sum, whichever is more."""
        return max(self.ratio, self.total_ratio)

    @property
    def margin(self) -> float:
        """What makes two times alike, relative: the spread, for less would let noise decide."""
        return min(self.spread, 1.0)

    @property
    def sure_error(self) -> float:
        """The error in two digits: what data of one seed leaves open is not to decide."""
        return float(f"{self.error:.1e}")

    @property
    def sure_size(self) -> float:
        """Bytes a weight in hundredths: scales of a row or a block of rows are no difference."""
        return round(self.bytes_per_weight, 2)

    @property
    def unsteady(self) -> bool:
        """Whether its times are uncertain: other programs had the cores, or they spread wide."""
        return self.disturbed or self.spread > WIDEST

    @property
    def least(self) -> float:
        """The lower end of its time ratio."""
        return self.ratio * (1 - self.margin)

    @property
    def most(self) -> float:
        """The upper end of its time ratio."""
        return self.ratio * (1 + self.margin)


def compared(measured: Measured) -> list[int]:
    """Number the shapes at which half was measured: those that candidates are compared at."""
    return [at for at, one in enumerate(measured.timed.get(HALF, ())) if _known(one)]


def lacking(measured: Measured, backend: str) -> list[Timed]:
    """Return what was not measured of a candidate though half was."""
    timed = measured.timed.get(backend, [])
    return [timed[at] for at in compared(measured) if not _known(timed[at])] if timed else []


def figures(measured: Measured, backend: str) -> Figures | None:
    """Return what a candidate comes to against half; None where it cannot be compared."""
    shapes = compared(measured)
    timed = measured.timed.get(backend)
    if not shapes or not timed or lacking(measured, backend):
        return None
    counts = measured.counts or [1] * len(measured.shapes)
    weights = [counts[at] for at in shapes]
    own = [timed[at] for at in shapes]
    half = [measured.timed[HALF][at] for at in shapes]
    times, base = ([one.milliseconds or 0.0 for one in each] for each in (own, half))
    logs = [math.log(mine / its) for mine, its in zip(times, base, strict=True)]
    geometric = math.exp(_mean(logs, weights))
    total = _mean(times, weights) / _mean(base, weights)
    return Figures(
        milliseconds=_mean(times, weights) * sum(weights),
        ratio=_of_model(own, times, base, weights) if measured.counts else geometric,
        speedup=1 / geometric,
        total_ratio=total,
        device_ratio=_device_ratio(own, half, weights),
        spread=_mean([_spread(one) for one in own], weights),
        error=max(one.rel_error or 0.0 for one in own),
        bytes_per_weight=_bytes(own, weights),
        disturbed=any(one.disturbed for one in own),
    )


def measured_in(selection: Selection) -> Measured:
    """Read the figures back out of a selection, to decide anew."""
    timed = {one.backend: list(one.shapes) for one in selection.candidates if one.shapes}
    cells = timed.get(HALF) or next(iter(timed.values()), [])
    return Measured(
        shapes=[(one.rows, one.depth, one.columns) for one in cells],
        timed=timed,
        failed={
            one.backend: one.lost
            for one in selection.candidates
            if one.usable == "no" and one.lost and one.lost == one.reason  # it broke down
        },
        counts=selection.asked.counts,
        device=selection.device,
        seconds=selection.seconds,
        starting_seconds=selection.starting_seconds,
        notes=list(selection.notes),
    )


def _of_model(
    own: Sequence[Timed], times: Sequence[float], base: Sequence[float], weights: Sequence[int]
) -> float:
    """Mean over prefill, decode ... of what the whole model takes in each, over half's time."""
    sums: dict[int, tuple[float, float]] = {}
    for one, mine, its, weight in zip(own, times, base, weights, strict=True):
        before = sums.get(one.rows, (0.0, 0.0))
        sums[one.rows] = (before[0] + weight * mine, before[1] + weight * its)
    return math.exp(_mean([math.log(mine / its) for mine, its in sums.values()], [1] * len(sums)))


def _device_ratio(own: Sequence[Timed], half: Sequence[Timed], weights: Sequence[int]) -> float:
    pairs = [
        (mine.device_milliseconds or mine.milliseconds, its.device_milliseconds or its.milliseconds)
        for mine, its in zip(own, half, strict=True)
    ]
    return math.exp(_mean([math.log((mine or 1) / (its or 1)) for mine, its in pairs], weights))


def _known(one: Timed) -> bool:
    return one.milliseconds is not None and one.milliseconds > 0


def _spread(one: Timed) -> float:
    if one.p10 is None or one.p90 is None or not one.milliseconds:
        return 0.0
    return (one.p90 - one.p10) / 2 / one.milliseconds


def _bytes(own: Sequence[Timed], weights: Sequence[int]) -> float:
    """Bytes a weight, a layer counting by how many weights it has."""
    sizes = [count * one.depth * one.columns for one, count in zip(own, weights, strict=True)]
    return _mean([one.weight_bytes_per_param or 0.0 for one in own], sizes)


def _mean(values: Sequence[float], weights: Sequence[int]) -> float:
    pairs = zip(values, weights, strict=True)
    return sum(value * weight for value, weight in pairs) / sum(weights)
