"""The fewest bytes a weight, and how much time is borne for them; a slowdown that was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.choosing.conftest import choose, loser, measured, over

if TYPE_CHECKING:
    from qdoctor.model import Objective


def test_memory_takes_the_fewest_bytes_then_the_faster() -> None:
    times = {"half": 1.0, "bnb-nf4": 1.6, "bnb-fp4": 1.2, "bnb-int8": 0.5}
    assert choose("memory", measured(times)).selected == "bnb-fp4"
    assert loser(choose("memory", measured(times)), "bnb-int8").lost == (
        "it takes 1 bytes a weight, bnb-fp4 0.562"
    )


def test_a_tenth_more_bytes_are_as_few_and_then_the_time_decides() -> None:
    times = {"half": 1.0, "bnb-nf4": 1.6, "bnb-fp4": 2.4, "bnb-int8": 0.5}
    found = choose("memory", measured(times, sizes={"bnb-fp4": 0.53}))
    assert found.selected == "bnb-nf4"
    assert "1.50 times as long" in (loser(found, "bnb-fp4").lost or "")
    smaller = choose("memory", measured(times, sizes={"bnb-fp4": 0.5}))
    assert smaller.selected == "bnb-fp4"


def test_scales_of_a_row_are_no_difference_in_memory() -> None:
    times = {"half": 1.0, "bnb-int8": 0.9, "qdoctor-switchback": 0.6}
    found = choose("memory", measured(times, sizes={"qdoctor-switchback": 1.004}))
    assert found.selected == "qdoctor-switchback"


def test_memory_bears_four_times_the_time_of_half_while_something_else_saves_memory() -> None:
    times = {"half": 1.0, "bnb-fp4": 18.0, "bnb-nf4": 3.9, "bnb-int8": 0.5}
    sizes = {"bnb-fp4": 0.5, "bnb-nf4": 0.6}
    found = choose("memory", measured(times, sizes=sizes))
    assert found.selected == "bnb-nf4"
    assert loser(found, "bnb-fp4").lost == (
        "it took 18 times as long as half; more than 4 are borne only where nothing else saves "
        "memory"
    )
    slow = choose("memory", measured({**times, "bnb-nf4": 4.1}, sizes=sizes))
    assert slow.selected == "bnb-int8"
    alone = choose("memory", measured({"half": 1.0, "bnb-fp4": 18.0, "bnb-nf4": 5.0}, sizes=sizes))
    assert alone.selected == "bnb-fp4"
    assert alone.reason.endswith(
        "it took 18 times as long as half, and nothing that takes less saves memory"
    )
    large = choose("memory", measured({**times, "bnb-int8": 4.5, "bnb-nf4": 4.5}, sizes=sizes))
    assert large.selected == "bnb-fp4"  # half takes less time, and saves nothing


def test_the_sum_over_the_shapes_may_not_take_four_times_as_long_either() -> None:
    shapes = [(4096, 4096, 4096), (1, 4096, 4096)]
    int4 = over(shapes, half=[1.0, 0.1], bnb_nf4=[9.0, 0.1], bnb_int8=[2.0, 0.2])
    assert choose("memory", int4).selected == "bnb-int8"  # the mean is 3 times half's, the sum 8.3
    assert choose("memory", over(shapes[1:], half=[0.1], bnb_nf4=[0.1])).selected == "bnb-nf4"


@pytest.mark.parametrize("objective", ["memory", "balanced"])
def test_a_slowdown_that_was_asked_is_a_bound_for_all_but_half(objective: Objective) -> None:
    times = {"half": 1.0, "bnb-nf4": 1.3, "qdoctor-switchback": 1.1}
    found = choose(objective, measured(times), max_slowdown=1.2, max_error=0.2)
    assert found.selected == "qdoctor-switchback"
    assert loser(found, "bnb-nf4").lost == (
        "it took 1.3 times as long as half, more than the 1.2 that were asked"
    )
    assert choose(objective, measured(times), max_slowdown=1.0).selected == "half"
    only = choose(objective, measured({"half": 1.0, "bnb-int8": 9.0}), max_slowdown=20.0)
    assert only.selected == {"memory": "bnb-int8", "balanced": "half"}[objective]
    unmeasured = choose(objective, None, max_slowdown=2.0)
    assert unmeasured.selected == "half"
    assert loser(unmeasured, "bnb-nf4").lost == (
        "only a measurement can show that it takes at most 2 times half's time"
    )
