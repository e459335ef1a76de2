"""Noise decides nothing: what holds of decisions among times that are known only so well."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from qdoctor.choosing.bounds import error_bound
from qdoctor.choosing.measured import Measured, figures, measured_in
from qdoctor.choosing.objectives import decide
from qdoctor.matrix import shipped
from qdoctor.model import Asked, Report, from_json
from tests.choosing.conftest import BYTES, ERRORS, over, verdicts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from qdoctor.model import Objective, Shape

    Draw = Callable[[st.SearchStrategy[float]], float]

_EVERY: tuple[Objective, ...] = ("latency", "memory", "balanced", "accuracy")
OBJECTIVES = st.sampled_from(_EVERY)
OTHERS = sorted(set(ERRORS) - {"half"})
TABLE: list[Shape] = [
    (rows, depth, columns)
    for rows in (1, 16, 256, 4096, 16384)
    for depth, columns in ((1024, 4096), (1280, 5120), (4096, 4096), (8192, 8192))
]
NOISE = 0.03
"""The spread of the made-up measurements, and how far off each of their medians may be."""
APART = 1.3
"""Times so far apart that no such noise puts them in another order, nor makes them a tie."""
ASKED = {name: Asked(objective=name) for name in _EVERY}


@st.composite
def true_times(draw: st.DrawFn) -> dict[str, list[float]]:
    """Milliseconds of half and some others at every shape of the table."""
    names = ["half", *draw(st.sets(st.sampled_from(OTHERS), min_size=1))]
    base = draw(st.lists(st.floats(0.01, 10.0), min_size=len(TABLE), max_size=len(TABLE)))
    ratios = {name: draw(st.floats(0.3, 6.0)) for name in names} | {"half": 1.0}
    tilt = {name: draw(st.floats(0.8, 1.25)) for name in names} | {"half": 1.0}
    return {
        name: [
            time * ratios[name] * (tilt[name] if at % 2 else 1 / tilt[name])
            for at, time in enumerate(base)
        ]
        for name in names
    }


def measured(
    times: dict[str, list[float]], shapes: Sequence[Shape], draw: Draw | None = None
) -> Measured:
    """Measure them, each median off by up to the noise."""
    noise = st.floats(1 - NOISE, 1 + NOISE)
    told = {
        name.replace("-", "_"): [one * (draw(noise) if draw else 1.0) for one in each]
        for name, each in times.items()
    }
    found = over(shapes, **told)
    wide = {
        name: [
            msgspec.structs.replace(
                one,
                p10=(one.milliseconds or 0.0) * (1 - NOISE),
                p90=(one.milliseconds or 0.0) * (1 + NOISE),
            )
            for one in cells
        ]
        for name, cells in found.timed.items()
    }
    return msgspec.structs.replace(found, timed=wide)


def selected(found: Measured, asked: Asked) -> str:
    chosen = decide(asked, verdicts(*found.timed), found, shipped()).selected
    assert chosen is not None
    return chosen


@given(st.data(), true_times())
def test_over_the_whole_table_what_is_selected_is_never_slower_than_half_beyond_the_spread(
    data: st.DataObject, times: dict[str, list[float]]
) -> None:
    """At each shape by itself, by its true time, though the decision saw a noisy one."""
    beyond = (1 + NOISE) / (1 - NOISE)
    asked = {
        "latency": ASKED["latency"],
        "bounded": Asked(objective=data.draw(OBJECTIVES), max_slowdown=1.0),
    }
    for at, shape in enumerate(TABLE):
        alone = {name: [each[at]] for name, each in times.items()}
        found = measured(alone, [shape], data.draw)
        for question in asked.values():
            winner = selected(found, question)
            assert alone[winner][0] <= beyond * alone["half"][0]


@given(st.data(), true_times(), OBJECTIVES)
def test_of_the_table_as_a_whole_neither_the_mean_nor_the_sum_is_slower(
    data: st.DataObject, times: dict[str, list[float]], objective: Objective
) -> None:
    found = measured(times, TABLE, data.draw)
    for question in (ASKED["latency"], Asked(objective=objective, max_slowdown=1.0)):
        own = figures(found, selected(found, question))
        assert own is not None
        assert own.slowdown <= 1.0


@given(st.data(), OBJECTIVES)
def test_equal_runs_give_the_same_answer_where_the_truth_is_not_within_the_noise(
    data: st.DataObject, objective: Objective
) -> None:
    """Five of them, of candidates whose scores lie apart by more than the noise."""
    names = ["half", *data.draw(st.lists(st.sampled_from(OTHERS), min_size=1, unique=True))]
    data.draw(st.randoms()).shuffle(names)
    steps = data.draw(st.lists(st.floats(APART, 3.0), min_size=len(names), max_size=len(names)))
    scores = dict(zip(names, accumulate(steps, lambda one, step: one * step), strict=True))
    sizes = BYTES if objective == "balanced" else dict.fromkeys(BYTES, 2.0)
    times = {name: [score * 2 / sizes[name]] for name, score in scores.items()}
    if objective == "memory":  # where four times half's time is borne
        assume(all(abs(times[name][0] / times["half"][0] / 4 - 1) > 0.2 for name in names))
    runs = {selected(measured(times, TABLE[:1], data.draw), ASKED[objective]) for _ in range(5)}
    assert len(runs) == 1


@given(st.data(), true_times(), OBJECTIVES)
def test_a_winner_is_borne_by_the_truth_within_the_noise(
    data: st.DataObject, times: dict[str, list[float]], objective: Objective
) -> None:
    """No candidate that was exact enough is better than the winner by more than noise explains."""
    found = measured(times, TABLE, data.draw)
    truth = measured(times, TABLE)
    winner = selected(found, ASKED[objective])
    if objective not in {"latency", "balanced"}:
        return
    best = figures(truth, winner)
    assert best is not None
    weigh = {name: BYTES[name] if objective == "balanced" else 1.0 for name in times}
    for name in times:
        own = figures(truth, name)
        assert own is not None
        if own.error > error_bound(ASKED[objective]) or own.slowdown > 1 - 2 * NOISE:
            continue
        ratio = own.ratio * weigh[name] / (best.ratio * weigh[winner])
        assert ratio > ((1 - NOISE) / (1 + NOISE)) ** 4


@given(data=st.data(), objective=OBJECTIVES)
def test_a_recorded_h100_keeps_its_word_under_its_own_spreads(
    data: st.DataObject, objective: Objective, machines: Path
) -> None:
    path = machines / "h100-selected.json"
    report = from_json(path.read_bytes(), Report, path.name)
    assert report.selection is not None
    recorded = measured_in(report.selection)
    timed = {
        name: [
            msgspec.structs.replace(one, milliseconds=data.draw(st.floats(one.p10, one.p90)))
            if one.p10 and one.p90
            else one
            for one in cells
        ]
        for name, cells in recorded.timed.items()
    }
    noisy = msgspec.structs.replace(recorded, timed=timed)
    winner = decide(ASKED[objective], report.verdicts, noisy, shipped()).selected
    assert winner is not None
    own, half = figures(recorded, winner), figures(recorded, "half")
    assert own is not None
    assert half is not None
    if objective in {"latency", "accuracy"}:
        assert own.ratio * (1 - own.spread) <= 1 + half.spread
    assert own.slowdown <= 4.0
