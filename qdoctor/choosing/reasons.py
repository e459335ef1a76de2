"""Why a backend won or lost, in words for people, with the figures. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdoctor.choosing.bounds import AIMS, ALIKE_BYTES, asked_slowdown, error_bound, usual_slowdown
from qdoctor.choosing.measured import HALF
from qdoctor.choosing.request import in_question

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdoctor.choosing.measured import Figures, Measured
    from qdoctor.model import Asked, Timed

NO_PROBE = "no probe of its own passed here, and without one nothing is chosen by its time"


def too_inexact(error: float, limit: float, asked: Asked) -> str:
    """Say that a backend's error is beyond the bound."""
    whose = f"what {asked.objective} bears" if asked.max_error is None else "what was asked"
    return f"its relative error {error:.2g} is more than {limit:.2g}, {whose}"


def too_slow(own: Figures, asked: Asked) -> str:
    """Say that a backend takes longer than was asked."""
    return f"{_takes(own)}, more than the {asked_slowdown(asked):g} that were asked"


def in_doubt(own: Figures, half: Figures) -> str:
    """Say that the times of a backend or of half are too uncertain."""
    had = "other programs had the cores, and " if own.disturbed or half.disturbed else ""
    return (
        f"whether it is better than half is in doubt: it ran at {own.speedup:.2g} times the speed, "
        f"but {had}the times spread by {100 * own.spread:.0f} and {100 * half.spread:.0f} %"
    )


def _takes(own: Figures) -> str:
    return f"it took {own.slowdown:.3g} times as long as half"


def lacks(cells: Sequence[Timed]) -> str:
    """Say what was not measured of a backend that half was measured at."""
    if not cells:
        return "it was not measured, so it is not compared"
    first = cells[0]
    more = f", and at {len(cells) - 1} other shapes" if len(cells) > 1 else ""
    why = first.unknown or "for no known reason"
    return f"it was not measured at {shape(first)}{more}: {why}; so it is not compared"


def shape(one: Timed) -> str:
    """Name a product: ``4096 rows of 1024 to 4096``."""
    return f"{one.rows} row{'s' * (one.rows != 1)} of {one.depth} to {one.columns}"


def won(
    asked: Asked, winner: str | None, every: Mapping[str, Figures], refused: Mapping[str, str]
) -> str:
    """Say in one sentence why the winner is it."""
    if winner is None:
        return nothing_left(asked, refused)
    if winner != HALF:
        own, wants = every[winner], AIMS[asked.objective].wants
        return f"it has {wants}: {_figures(own)}{_although(asked, own, refused)}"
    if none := _none_of_allowed(asked, refused):
        return none
    if len(every) == 1:
        return "no quantized backend could be measured here"
    wanted = {"latency": "faster than half", "balanced": "better in time x memory"}
    if asked.objective == "memory":
        return "no backend that takes less memory is left"
    better = wanted.get(asked.objective, "as fast")
    doubt = " beyond doubt" if any(own.unsteady for own in every.values()) else ""
    bound = f"{error_bound(asked):.2g}"
    return f"no quantized backend within a relative error of {bound} is {better}{doubt}"


def _although(asked: Asked, best: Figures, refused: Mapping[str, str]) -> str:
    """Say why a winner may be as slow as it is."""
    if best.speedup < 1 and HALF in refused:
        return " (half is denied)"
    if best.slowdown > usual_slowdown(asked):
        return f"; {_takes(best)}, and nothing that takes less saves memory"
    return ""


def nothing_left(asked: Asked, refused: Mapping[str, str]) -> str:
    """Say why there is nothing to take: what half lacks, or of the others, where it is denied."""
    if HALF not in (asked.deny or ()):
        return f"nothing is left, not even half: {refused.get(HALF, 'it cannot be used')}"
    others = [name for name in refused if in_question(name, asked.allow, asked.deny)]
    if len(others) == 1:
        return f"nothing is left: half is denied; {others[0]}: {refused[others[0]]}"
    return "nothing is left: half is denied, and every other backend is ruled out, as each says"


def _none_of_allowed(asked: Asked, refused: Mapping[str, str]) -> str:
    """Say that half stands in for all that was allowed; ``""`` where that is not so."""
    allowed = [name for name in asked.allow or () if name not in (asked.deny or ())]
    if not allowed or HALF in allowed or not set(allowed) <= set(refused):
        return ""
    if len(allowed) == 1:
        return f"half stands in for what is allowed, {allowed[0]}: {refused[allowed[0]]}"
    return "half stands in for what is allowed, of which nothing can be taken, as each says"


def lost(asked: Asked, name: str, winner: str | None, every: Mapping[str, Figures]) -> str:
    """Say what a measured candidate has less of than the winner."""
    own, half = every.get(name), every[HALF]
    if own is None or winner is None or winner not in every:
        return "it was not measured, so it is not compared"
    best = every[winner]
    if name == HALF:
        return _against(asked, own, best, winner)
    inside = own.least <= half.most
    slower = own.slowdown > 1.0
    if slower and (asked.objective == "latency" or (asked.objective == "accuracy" and not inside)):
        doubt = ", a difference inside the spread" if inside else ""
        return f"it ran at {own.speedup:.2g} times the speed of half: slower{doubt}{_kernels(own)}"
    return _against(asked, own, best, winner)


def _kernels(own: Figures) -> str:
    """Say so where launching is what makes a backend slow, which CUDA graphs would take away."""
    if own.device_ratio > 0.8 / own.speedup:
        return ""
    alone = 1 / own.device_ratio
    return f"; launching takes the time: its kernels alone run at {alone:.2g} times the speed"


def _against(asked: Asked, own: Figures, best: Figures, winner: str) -> str:
    if asked.objective == "memory":
        usual = usual_slowdown(asked)
        mine, its = own.bytes_per_weight, best.bytes_per_weight
        if mine > ALIKE_BYTES * its:
            return f"it takes {mine:.3g} bytes a weight, {winner} {its:.3g}"
        if own.slowdown > usual >= best.slowdown:
            borne = f"{usual:g} are borne only where nothing else saves memory"
            return f"{_takes(own)}{_kernels(own)}; more than {borne}"
    if asked.objective == "accuracy" and own.sure_error > best.sure_error:
        return f"its relative error is {own.error:.2g}, that of {winner} {best.error:.2g}"
    if asked.objective == "balanced":
        mine, its = (one.ratio * one.bytes_per_weight / 2 for one in (own, best))
        if mine > its:
            return f"time x memory is {mine:.2f} of half's, with {winner} {its:.2f}"
    if own.ratio > best.ratio:
        return (
            f"it took {own.milliseconds:.3g} ms, {winner} {best.milliseconds:.3g} "
            f"({own.ratio / best.ratio:.2f} times as long)"
        )
    return _tie(own, best, winner)


def _tie(own: Figures, best: Figures, winner: str) -> str:
    spread = 100 * max(own.margin, best.margin)
    head = f"no better than {winner} beyond the spread ({spread:.0f} %)"
    if own.sure_error > best.sure_error:
        return f"{head}, and less exact: {own.error:.2g} against {best.error:.2g}"
    if own.sure_size > best.sure_size:
        return f"{head}, and larger: {own.bytes_per_weight:.3g} bytes a weight"
    return f"{head}, nor more exact or smaller: the name decides"


def _figures(own: Figures) -> str:
    return (
        f"{own.speedup:.2f} times the speed of half, relative error {own.error:.2g}, "
        f"{own.bytes_per_weight:.3g} bytes a weight"
    )


def won_unmeasured(
    asked: Asked,
    winner: str | None,
    rows: Mapping[str, Any],
    measured: Measured | None,
    refused: Mapping[str, str],
) -> str:
    """Say in one sentence why the winner is it, and that nothing was measured."""
    head = "nothing was measured, so the probes and the matrix decide"
    if measured is not None and measured.failed.get(HALF):
        head = (
            f"nothing could be measured ({measured.failed[HALF]}): the probes and the matrix decide"
        )
    if winner is None:
        return f"{head}; {nothing_left(asked, refused)}"
    if winner == HALF and (none := _none_of_allowed(asked, refused)):
        return f"{head}: {none}"
    return f"{head}: {_unmeasured_ground(asked, winner, rows)}"


def lost_unmeasured(asked: Asked, name: str, winner: str | None, rows: Mapping[str, Any]) -> str:
    """Say what puts a backend behind the winner where nothing was measured."""
    if winner == HALF and asked.objective in {"latency", "accuracy"}:
        return "only a measurement can show that it is not slower than half"
    if asked.objective == "memory" and winner is not None:
        mine, its = (float(rows[each]["weight_bytes_per_param"]) for each in (name, winner))
        if mine > its:
            return f"it takes {mine:.3g} bytes a weight, {winner} {its:.3g}"
    return (
        f"{winner} comes before it in the order of preference: it {rows[name]['preference_reason']}"
    )


def _unmeasured_ground(asked: Asked, winner: str, rows: Mapping[str, Any]) -> str:
    if winner == HALF and asked.objective in {"latency", "accuracy"}:
        return "nothing is taken to be as fast as half unmeasured"
    if asked.objective == "memory":
        return f"{rows[winner]['weight_bytes_per_param']:.3g} bytes a weight"
    return f"first in the order of preference: it {rows[winner]['preference_reason']}"
