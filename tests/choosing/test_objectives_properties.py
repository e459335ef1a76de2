"""What holds of every decision, whatever was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from qdoctor.choosing.bounds import error_bound
from qdoctor.choosing.measured import figures
from qdoctor.model import Asked
from tests.choosing.conftest import ERRORS, choose, measured, verdicts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdoctor.choosing.measured import Measured
    from qdoctor.model import Objective

OBJECTIVES = st.sampled_from(("latency", "memory", "balanced", "accuracy"))
OTHERS = sorted(set(ERRORS) - {"half"})
# Few values, so that ties and near ties are common; and any.
_TIMES = st.one_of(st.sampled_from((0.9, 0.97, 0.99, 1.0, 1.01, 1.03, 1.1)), st.floats(0.05, 20))
_SPREADS = st.one_of(st.sampled_from((0.0, 0.01, 0.03)), st.floats(0, 0.9))
_ERRORS = st.one_of(st.sampled_from((0.0121, 0.0119, 0.012)), st.floats(1e-4, 0.3))
_SIZES = st.sampled_from((0.5625, 0.99, 1.0, 1.004, 1.1, 2.0))


@st.composite
def measurements(draw: st.DrawFn) -> Measured:
    names = ["half", *draw(st.sets(st.sampled_from(OTHERS)))]
    errors = {name: draw(_ERRORS) for name in names} | {"half": 0.003}
    return measured(
        {name: draw(_TIMES) for name in names},
        spreads={name: draw(_SPREADS) for name in names},
        errors=errors,
        sizes={name: draw(_SIZES) for name in names} | {"half": 2.0},
    )


def selected(objective: Objective, found: Measured, **asked: object) -> str:
    chosen = choose(objective, found, verdicts(*found.timed), **asked).selected
    assert chosen is not None
    return chosen


def with_times(found: Measured, factors: Mapping[str, float]) -> Measured:
    timed = dict(found.timed)
    for name, factor in factors.items():
        one = timed[name][0]
        assert one.milliseconds and one.p10 is not None and one.p90 is not None  # noqa: PT018
        times = {key: getattr(one, key) * factor for key in ("milliseconds", "p10", "p90")}
        timed[name] = [msgspec.structs.replace(one, **times)]
    return msgspec.structs.replace(found, timed=timed)


@given(measurements())
def test_latency_is_never_slower_than_half(found: Measured) -> None:
    own = figures(found, selected("latency", found))
    assert own is not None
    assert own.ratio <= 1.0


@given(measurements())
def test_accuracy_is_never_slower_than_half_beyond_the_spread(found: Measured) -> None:
    own, half = figures(found, selected("accuracy", found)), figures(found, "half")
    assert own is not None
    assert half is not None
    assert own.least <= half.most


@given(measurements(), OBJECTIVES, st.floats(1e-4, 0.3))
def test_the_error_bound_is_kept_except_by_half(
    found: Measured, objective: Objective, limit: float
) -> None:
    for asked in ({}, {"max_error": limit}):
        winner = selected(objective, found, **asked)
        own = figures(found, winner)
        assert own is not None
        question = msgspec.convert({"objective": objective, **asked}, Asked)
        assert winner == "half" or own.error <= error_bound(question)


@given(measurements(), OBJECTIVES, st.floats(0.2, 8.0))
def test_the_slowdown_that_was_asked_is_kept_except_by_half(
    found: Measured, objective: Objective, limit: float
) -> None:
    winner = selected(objective, found, max_slowdown=limit)
    own = figures(found, winner)
    assert own is not None
    assert winner == "half" or own.slowdown <= limit


@given(measurements())
def test_memory_takes_long_only_where_nothing_quicker_saves_memory(found: Measured) -> None:
    winner = selected("memory", found)
    own = figures(found, winner)
    assert own is not None
    if own.slowdown > 4.0:
        for name in found.timed:
            other = figures(found, name)
            assert other is not None
            saves = round(other.bytes_per_weight, 2) < 2.0 and other.error <= 0.15
            assert other.slowdown > 4.0 or not saves


@given(measurements(), OBJECTIVES, st.randoms())
def test_no_order_decides(found: Measured, objective: Objective, random: object) -> None:
    names = list(found.timed)
    random.shuffle(names)  # type: ignore[attr-defined]
    shuffled = msgspec.structs.replace(found, timed={name: found.timed[name] for name in names})
    assert choose(objective, shuffled, verdicts(*names)).selected == selected(objective, found)


@given(measurements(), OBJECTIVES, st.floats(0.05, 1.0))
def test_a_winner_that_gets_faster_still_wins(
    found: Measured, objective: Objective, factor: float
) -> None:
    winner = selected(objective, found)
    assume(winner != "half")
    assert selected(objective, with_times(found, {winner: factor})) == winner


@given(measurements(), OBJECTIVES, st.sampled_from((0.25, 4.0)))
def test_a_faster_device_changes_nothing(
    found: Measured, objective: Objective, factor: float
) -> None:
    alike = dict.fromkeys(found.timed, factor)
    assert selected(objective, with_times(found, alike)) == selected(objective, found)


@given(measurements(), OBJECTIVES)
def test_what_is_denied_does_not_win(found: Measured, objective: Objective) -> None:
    others = [name for name in found.timed if name != "half"]
    for name in others:
        assert selected(objective, found, deny=[name]) != name
    assert selected(objective, found, deny=others or None) == "half"


@given(measurements(), OBJECTIVES)
def test_what_is_not_exact_enough_may_as_well_not_be_there(
    found: Measured, objective: Objective
) -> None:
    limit = error_bound(msgspec.convert({"objective": objective}, Asked))
    wild = [
        name
        for name in found.timed
        if name != "half" and (own := figures(found, name)) and own.error > limit
    ]
    assert selected(objective, found, deny=wild or None) == selected(objective, found)


@given(measurements(), OBJECTIVES)
def test_every_loser_is_told_why_and_the_winner_is_not_one(
    found: Measured, objective: Objective
) -> None:
    chosen = choose(objective, found)
    for one in chosen.candidates:
        assert (one.lost is None) == (one.backend == chosen.selected)
        assert one.lost is None or one.lost.strip()
