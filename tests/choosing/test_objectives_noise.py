"""What a tie is, what breaks it, and that neither noise nor a disturbed measurement decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qdoctor.choosing.objectives import SLOWER
from tests.choosing.conftest import choose, loser, measured

if TYPE_CHECKING:
    from qdoctor.model import Objective


def test_a_tie_is_broken_by_error_then_memory_then_name() -> None:
    times = {"half": 1.0, "bnb-int8": 0.7, "qdoctor-switchback": 0.705, "torchao-int8": 0.699}
    assert choose("latency", measured(times)).selected == "bnb-int8"
    alike = dict.fromkeys(("bnb-int8", "qdoctor-switchback", "torchao-int8"), 0.0121)
    smaller = {"torchao-int8": 0.9}
    assert choose("latency", measured(times, errors=alike, sizes=smaller)).selected == (
        "torchao-int8"
    )
    by_name = choose("latency", measured(times, errors=alike))
    assert by_name.selected == "bnb-int8"
    assert "the name decides" in (loser(by_name, "torchao-int8").lost or "")


def test_a_chain_of_ties_is_no_tie_with_its_far_end() -> None:
    """A is as fast as B and B as C, but C is slower than A: the set is that of the fastest."""
    times = {"half": 2.0, "torch-fp8": 1.00, "qdoctor-switchback": 1.03, "bnb-int8": 1.06}
    spreads = dict.fromkeys(times, 0.02)
    found = choose("latency", measured(times, spreads=spreads))
    assert found.selected == "qdoctor-switchback"
    assert "times as long" in (loser(found, "bnb-int8").lost or "")


def test_slower_inside_the_spread_is_not_taken_either_and_no_rule_is_blamed() -> None:
    times = {"half": 1.0, "qdoctor-switchback": 1.005}
    lost = loser(choose("latency", measured(times)), "qdoctor-switchback")
    assert (lost.rule, "inside the spread" in (lost.lost or "")) == (None, True)


@pytest.mark.parametrize("objective", ["latency", "balanced"])
def test_what_lies_inside_a_wide_spread_does_not_beat_half_whoever_made_it_wide(
    objective: Objective,
) -> None:
    """No core was taken, and yet one candidate's times spread by 156 %: so nobody knows."""
    times = {"half": 1.0, "torch-fp8": 0.8}
    found = choose(objective, measured(times, spreads={"half": 0.08, "torch-fp8": 1.56}))
    assert found.selected == "half"
    lost = loser(found, "torch-fp8").lost or ""
    assert "but the times spread by 156 and 8 %" in lost


def test_a_wide_spread_wins_nothing_by_itself() -> None:
    times = {"half": 1.0, "qdoctor-switchback": 0.8, "bnb-int8": 1.05}
    found = choose("latency", measured(times, spreads={"bnb-int8": 0.4}))
    assert found.selected == "qdoctor-switchback"


@pytest.mark.parametrize("objective", ["latency", "balanced", "accuracy"])
@pytest.mark.parametrize("who", ["half", "qdoctor-switchback"])
def test_what_only_a_disturbed_measurement_shows_does_not_beat_half(
    objective: Objective, who: str
) -> None:
    times = {"half": 1.0, "qdoctor-switchback": 0.8}
    assert choose(objective, measured(times)).selected == "qdoctor-switchback"
    spreads = dict.fromkeys(times, 0.4)
    if objective == "balanced":  # its score is 0.4: that takes more to doubt
        spreads = dict.fromkeys(times, 0.6)
    found = choose(objective, measured(times, spreads=spreads, disturbed=[who]))
    assert found.selected == "half"
    lost = loser(found, "qdoctor-switchback").lost or ""
    assert lost.startswith("whether it is better than half is in doubt: it ran at 1.2 times the ")
    assert "other programs had the cores" in lost
    assert found.reason.endswith(" beyond doubt")


def test_a_disturbed_measurement_still_tells_what_is_beyond_its_spread() -> None:
    times = {"half": 1.0, "qdoctor-switchback": 0.3, "bnb-int8": 3.0, "bnb-nf4": 1.0}
    spreads = dict.fromkeys(times, 0.5)
    found = measured(times, spreads=spreads, disturbed=list(times))
    assert choose("latency", found).selected == "qdoctor-switchback"
    assert loser(choose("latency", found), "bnb-int8").lost == (
        "it ran at 0.33 times the speed of half: slower"
    )
    assert choose("memory", found).selected == "bnb-nf4"  # no time decides against half there
    doubtful = measured({"half": 1.0, "bnb-int8": 0.9}, spreads=spreads, disturbed=["half"])
    assert choose("latency", doubtful, deny=["half"]).selected == "bnb-int8"


def test_among_what_was_disturbed_not_the_noise_decides_but_the_error() -> None:
    times = {"half": 1.0, "torch-fp8": 2.0, "bnb-int8": 2.6}
    assert choose("memory", measured(times)).selected == "torch-fp8"
    spreads = dict.fromkeys(times, 0.3)
    assert choose("memory", measured(times, spreads=spreads)).selected == "bnb-int8"
    found = choose("memory", measured(times, spreads=spreads, disturbed=list(times)))
    assert found.selected == "bnb-int8"
    lost = "no better than bnb-int8 beyond the spread (30 %), and less exact: 0.037 against 0.009"
    assert loser(found, "torch-fp8").lost == lost


def test_what_may_only_have_been_disturbed_is_not_called_slow() -> None:
    times = {"half": 1.0, "bnb-int8": 1.5, "qdoctor-switchback": 4.0}
    spreads = dict.fromkeys(times, 0.3)
    calm = choose("memory", measured(times))
    assert loser(calm, "bnb-int8").rule == SLOWER
    both = ["half", "bnb-int8"]
    found = choose("memory", measured(times, spreads=spreads, disturbed=both))
    assert loser(found, "bnb-int8").rule is None
    assert loser(found, "qdoctor-switchback").rule == SLOWER


def test_what_is_sure_is_not_passed_over_for_what_is_in_doubt() -> None:
    times = {"half": 1.0, "qdoctor-switchback": 0.8, "bnb-int8": 0.6}
    spreads = {"half": 0.01, "qdoctor-switchback": 0.01, "bnb-int8": 0.9}
    found = choose("latency", measured(times, spreads=spreads, disturbed=["bnb-int8"]))
    assert found.selected == "qdoctor-switchback"


@pytest.mark.parametrize("objective", ["latency", "accuracy"])
def test_on_a_disturbed_machine_what_is_much_slower_still_is(objective: Objective) -> None:
    times = {"half": 1.0, "bnb-int8": 1.5, "qdoctor-switchback": 6.0}
    wild = dict.fromkeys(times, 20.0)
    assert choose(objective, measured(times, spreads=wild)).selected == "half"
