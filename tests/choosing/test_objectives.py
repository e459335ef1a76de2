"""What each objective wants, and what it says of those that lose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from qdoctor.choosing.measured import measured_in
from qdoctor.choosing.objectives import SLOWER
from tests.choosing.conftest import FAST, choose, loser, measured

if TYPE_CHECKING:
    from qdoctor.model import Objective


@pytest.mark.parametrize(
    ("objective", "best"),
    [
        ("latency", "qdoctor-switchback"),
        ("balanced", "qdoctor-switchback"),
        ("accuracy", "qdoctor-switchback"),
        ("memory", "bnb-nf4"),
    ],
)
def test_each_objective_takes_what_it_wants_least_of(objective: Objective, best: str) -> None:
    found = choose(objective, measured(FAST))
    assert (found.selected, found.measured) == (best, True)
    assert loser(found, best).lost is None
    assert all(one.lost for one in found.candidates if one.backend != best)


def test_the_figures_of_every_candidate_are_told() -> None:
    own = loser(choose("latency", measured(FAST)), "qdoctor-switchback")
    assert own.milliseconds == pytest.approx(0.7)
    assert own.speedup_vs_half == pytest.approx(1 / 0.7)
    assert own.spread == pytest.approx(0.01)
    assert (own.rel_error, own.weight_bytes_per_param) == (0.012, 1.0)


def test_what_is_slower_than_half_is_never_taken_for_latency_and_the_rule_is_named() -> None:
    found = choose("latency", measured({"half": 1.0, "bnb-int8": 2.2, "qdoctor-switchback": 1.3}))
    assert found.selected == "half"
    lost = loser(found, "bnb-int8")
    assert lost.rule == SLOWER
    assert lost.lost == "it ran at 0.45 times the speed of half: slower"
    assert "faster than half" in found.reason


def test_as_fast_as_half_within_the_spread_is_half_which_is_more_exact() -> None:
    found = choose("latency", measured({"half": 1.0, "qdoctor-switchback": 0.99}))
    assert found.selected == "half"
    assert "less exact: 0.012 against 0.003" in (loser(found, "qdoctor-switchback").lost or "")


def test_what_two_digits_do_not_tell_apart_is_not_called_less_exact() -> None:
    times = {"half": 1.0, "bnb-int8": 0.5, "torch-fp8": 0.5}
    alike = choose("latency", measured(times, errors={"bnb-int8": 0.01056, "torch-fp8": 0.01144}))
    assert alike.selected == "bnb-int8"
    assert (loser(alike, "torch-fp8").lost or "").endswith("the name decides")
    apart = choose("latency", measured(times, errors={"bnb-int8": 0.01056, "torch-fp8": 0.01156}))
    assert "less exact: 0.012 against 0.011" in (loser(apart, "torch-fp8").lost or "")


def test_that_launching_takes_the_time_is_said_and_only_then() -> None:
    found = measured({"half": 0.05, "qdoctor-switchback": 0.2, "bnb-int8": 0.2})
    cells = dict(found.timed)
    one = cells["qdoctor-switchback"][0]
    launched = msgspec.structs.replace(one, device_milliseconds=0.04, host_milliseconds=0.2)
    cells["qdoctor-switchback"] = [launched]
    chosen = choose("latency", msgspec.structs.replace(found, timed=cells))
    assert loser(chosen, "qdoctor-switchback").lost == (
        "it ran at 0.25 times the speed of half: slower; launching takes the time: its kernels "
        "alone run at 1.2 times the speed"
    )
    assert "launching" not in (loser(chosen, "bnb-int8").lost or "")


def test_the_error_bound_is_kept_and_named() -> None:
    times = {"half": 1.0, "torch-fp8": 0.5, "qdoctor-switchback": 0.8}
    assert choose("latency", measured(times)).selected == "torch-fp8"
    found = choose("latency", measured(times), max_error=0.02)
    assert found.selected == "qdoctor-switchback"
    lost = loser(found, "torch-fp8").lost
    assert lost == "its relative error 0.037 is more than 0.02, what was asked"
    assert "what accuracy bears" in (
        loser(choose("accuracy", measured(times)), "torch-fp8").lost or ""
    )


def test_half_is_left_where_nothing_is_exact_enough() -> None:
    found = choose("memory", measured(FAST), max_error=0.001)
    assert found.selected == "half"


def test_accuracy_takes_the_least_error_that_is_not_slower_than_half() -> None:
    times = {"half": 1.0, "bnb-int8": 1.3, "qdoctor-switchback": 0.9}
    assert choose("accuracy", measured(times)).selected == "qdoctor-switchback"
    assert choose("accuracy", measured({**times, "bnb-int8": 1.01})).selected == "bnb-int8"
    assert choose("accuracy", measured({"half": 1.0, "bnb-int8": 1.3})).selected == "half"


def test_for_accuracy_the_larger_error_is_the_reason_where_the_speed_is_not() -> None:
    times = {"half": 1.0, "bnb-int8": 1.005, "qdoctor-switchback": 1.004, "torchao-int8": 1.3}
    found = choose("accuracy", measured(times))
    assert found.selected == "bnb-int8"
    assert "relative error is 0.012, that of bnb-int8 0.009" in (
        loser(found, "qdoctor-switchback").lost or ""
    )
    assert "0.77 times the speed of half: slower" in (loser(found, "torchao-int8").lost or "")


def test_balanced_weighs_time_and_memory_against_half() -> None:
    slow = {"half": 1.0, "qdoctor-switchback": 1.9}
    assert choose("balanced", measured(slow)).selected == "qdoctor-switchback"
    slower = {"half": 1.0, "qdoctor-switchback": 2.1}
    found = choose("balanced", measured(slower))
    assert found.selected == "half"
    lost = loser(found, "qdoctor-switchback").lost
    assert lost == "time x memory is 1.05 of half's, with half 1.00"


def test_a_selection_holds_all_it_was_decided_by() -> None:
    first = choose("latency", measured(FAST))
    again = choose("latency", measured_in(first))
    assert again.candidates == first.candidates
    assert (again.selected, again.reason) == (first.selected, first.reason)
