"""The decision: what each objective wants, what excludes, what a tie is, and that noise is not."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from qdoctor import backends
from qdoctor.backends import NAMES
from qdoctor.choosing.measured import measured_in
from qdoctor.choosing.objectives import SLOWER, decide
from qdoctor.matrix import shipped
from qdoctor.model import Asked
from tests.choosing.conftest import measured, over, timed, verdict, verdicts

if TYPE_CHECKING:
    from qdoctor.choosing.measured import Measured
    from qdoctor.model import Candidate, Objective, Selection, Verdict

FAST = {"half": 1.0, "bnb-int8": 1.4, "qdoctor-switchback": 0.7, "bnb-nf4": 1.6, "bnb-fp4": 1.6}


def choose(
    objective: Objective,
    found: Measured | None,
    judged: list[Verdict] | None = None,
    **asked: object,
) -> Selection:
    question = msgspec.convert({"objective": objective, **asked}, Asked)
    return decide(question, verdicts() if judged is None else judged, found, shipped())


def loser(selection: Selection, backend: str) -> Candidate:
    return next(one for one in selection.candidates if one.backend == backend)


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


@pytest.mark.parametrize("objective", ["latency", "balanced", "accuracy"])
@pytest.mark.parametrize("who", ["half", "qdoctor-switchback"])
def test_what_only_a_disturbed_measurement_shows_does_not_beat_half(
    objective: Objective, who: str
) -> None:
    times = {"half": 1.0, "qdoctor-switchback": 0.8}
    spreads = dict.fromkeys(times, 0.4)
    assert choose(objective, measured(times, spreads=spreads)).selected == "qdoctor-switchback"
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
    spreads = dict.fromkeys(times, 0.3)
    assert choose("memory", measured(times, spreads=spreads)).selected == "torch-fp8"
    found = choose("memory", measured(times, spreads=spreads, disturbed=list(times)))
    assert found.selected == "bnb-int8"
    lost = "no better than bnb-int8 beyond the spread (30 %), and less exact: 0.037 against 0.009"
    assert loser(found, "torch-fp8").lost == lost


def test_what_may_only_have_been_disturbed_is_not_called_slow() -> None:
    times = {"half": 1.0, "bnb-int8": 1.5, "qdoctor-switchback": 4.0}
    spreads = dict.fromkeys(times, 0.3)
    calm = choose("memory", measured(times, spreads=spreads))
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


def test_slower_inside_the_spread_is_not_taken_either_and_no_rule_is_blamed() -> None:
    times = {"half": 1.0, "qdoctor-switchback": 1.005}
    lost = loser(choose("latency", measured(times)), "qdoctor-switchback")
    assert (lost.rule, "inside the spread" in (lost.lost or "")) == (None, True)


def test_a_wide_spread_wins_nothing_by_itself() -> None:
    times = {"half": 1.0, "qdoctor-switchback": 0.8, "bnb-int8": 1.05}
    found = choose("latency", measured(times, spreads={"bnb-int8": 0.4}))
    assert found.selected == "qdoctor-switchback"


@pytest.mark.parametrize("objective", ["latency", "accuracy"])
def test_on_a_disturbed_machine_what_is_much_slower_still_is(objective: Objective) -> None:
    times = {"half": 1.0, "bnb-int8": 1.5, "qdoctor-switchback": 6.0}
    wild = dict.fromkeys(times, 20.0)
    assert choose(objective, measured(times, spreads=wild)).selected == "half"


def test_as_fast_as_half_within_the_spread_is_half_which_is_more_exact() -> None:
    found = choose("latency", measured({"half": 1.0, "qdoctor-switchback": 0.99}))
    assert found.selected == "half"
    assert "less exact: 0.012 against 0.003" in (loser(found, "qdoctor-switchback").lost or "")


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


def test_scales_of_a_row_are_no_difference_in_memory() -> None:
    times = {"half": 1.0, "bnb-int8": 0.9, "qdoctor-switchback": 0.6}
    found = choose("memory", measured(times, sizes={"qdoctor-switchback": 1.004}))
    assert found.selected == "qdoctor-switchback"


@pytest.mark.parametrize(
    ("judged", "why"),
    [
        (verdict("qdoctor-switchback", "no"), "it cannot be used here: why no"),
        (verdict("qdoctor-switchback", "unknown"), "is not known: why unknown"),
        (verdict("qdoctor-switchback", ran=False), "no probe of its own passed here"),
    ],
)
def test_only_what_a_probe_showed_here_is_taken(judged: Verdict, why: str) -> None:
    found = choose("latency", measured(FAST), [verdict("half"), judged])
    assert found.selected == "half"
    assert why in (loser(found, "qdoctor-switchback").lost or "")


def test_what_is_not_allowed_or_denied_is_not_taken_and_half_always_is() -> None:
    found = choose("memory", measured(FAST), allow=["qdoctor-switchback"])
    assert found.selected == "qdoctor-switchback"
    assert "not among what is allowed" in (loser(found, "bnb-nf4").lost or "")
    found = choose("latency", measured(FAST), deny=["qdoctor-switchback"])
    assert (found.selected, loser(found, "qdoctor-switchback").lost) == ("half", "it is denied")


def test_half_that_stands_in_for_what_is_allowed_says_so() -> None:
    judged = [verdict("half"), verdict("bnb-nf4", "no"), verdict("bnb-int8")]
    found = choose("balanced", measured({"half": 1.0}), judged, allow=["bnb-nf4"])
    assert found.selected == "half"
    assert found.reason == (
        "half stands in for what is allowed, bnb-nf4: it cannot be used here: why no"
    )


def test_half_denied_leaves_the_fastest_of_the_others_and_says_that_it_is_slower() -> None:
    times = {"half": 1.0, "bnb-int8": 1.4, "qdoctor-switchback": 1.2}
    found = choose("latency", measured(times), deny=["half"])
    assert found.selected == "qdoctor-switchback"
    assert "half is denied" in found.reason
    only = [verdict("half"), verdict("bnb-int8", "no")]
    assert choose("latency", measured({"half": 1.0}), only, deny=["half"]).selected is None


def test_training_takes_only_what_trains() -> None:
    times = {"half": 1.0, "torch-fp8": 0.5, "qdoctor-switchback": 0.8}
    found = choose("latency", measured(times), training=True)
    assert found.selected == "qdoctor-switchback"
    assert "cannot train" in (loser(found, "torch-fp8").lost or "")


def test_the_table_says_of_each_backend_what_its_layer_says() -> None:
    rows = shipped().table("backends")["rows"]
    said = {name: row["trainable"] for name, row in rows.items()}
    assert said == {name: _says_trainable(name) for name in NAMES}


def _says_trainable(name: str) -> bool:
    source = Path(backends.__file__).with_name(f"{name.replace('-', '_')}.py").read_text()
    return any(
        isinstance(node, ast.Assign) and ast.unparse(node) == "trainable = True"
        for node in ast.walk(ast.parse(source))
    )


def test_what_broke_down_while_measured_cannot_be_used() -> None:
    found = choose(
        "latency",
        measured({**FAST, "qdoctor-switchback": 0.1}, failed={"qdoctor-switchback": "SIGSEGV"}),
    )
    assert found.selected == "half"
    own = loser(found, "qdoctor-switchback")
    assert (own.lost, own.usable, own.milliseconds) == ("SIGSEGV", "no", None)


def test_what_lacks_a_shape_that_half_has_is_unknown_not_slow() -> None:
    shapes = [(4096, 1024, 4096), (4096, 4096, 4096)]
    found = choose("latency", over(shapes, half=[1.0, 2.0], qdoctor_switchback=[0.5, None]))
    own = loser(found, "qdoctor-switchback")
    assert (found.selected, own.speedup_vs_half, own.rule) == ("half", None, None)
    assert "4096 rows of 4096 to 4096: out-of-memory: no room" in (own.lost or "")


def test_a_shape_that_half_lacks_is_left_out_for_all() -> None:
    shapes = [(4096, 1024, 4096), (4096, 8192, 8192)]
    found = choose("latency", over(shapes, half=[1.0, None], qdoctor_switchback=[0.5, 9.0]))
    assert found.selected == "qdoctor-switchback"
    assert loser(found, "qdoctor-switchback").milliseconds == 0.5


def test_over_several_shapes_the_geometric_mean_decides_and_the_sum_may_not_be_slower() -> None:
    shapes = [(4096, 4096, 4096), (1, 4096, 4096)]
    slow_small = over(shapes, half=[1.0, 0.01], qdoctor_switchback=[0.7, 0.04])
    assert choose("latency", slow_small).selected == "half"
    slow_large = over(shapes, half=[1.0, 0.01], qdoctor_switchback=[1.2, 0.005])
    found = choose("latency", slow_large)
    assert found.selected == "half"
    faster = over(shapes, half=[1.0, 0.01], qdoctor_switchback=[0.7, 0.011])
    assert choose("latency", faster).selected == "qdoctor-switchback"


def test_a_models_layers_count_as_often_as_they_occur() -> None:
    shapes = [(2048, 1024, 4096), (2048, 4096, 1024)]
    found = over(shapes, half=[1.0, 1.0], qdoctor_switchback=[0.8, 1.5])
    often = msgspec.structs.replace(found, counts=[10, 1])
    assert choose("latency", found).selected == "half"
    assert choose("latency", often, counts=[10, 1]).selected == "qdoctor-switchback"


def test_layers_that_a_backend_leaves_alone_have_the_figures_of_half() -> None:
    found = measured({"half": 1.0})
    own = timed(1.0, error=0.003, size=2.0, left="K is not a multiple of 16")
    found = msgspec.structs.replace(found, timed={**found.timed, "torch-fp8": [own]})
    chosen = choose("balanced", found)
    assert chosen.selected == "half"
    assert "leave every one of these layers" in (loser(chosen, "torch-fp8").lost or "")


@pytest.mark.parametrize("found", [None, measured({}, failed={"half": "gpu-busy: in use"})])
def test_without_a_measurement_the_probes_and_the_matrix_decide_and_it_says_so(
    found: Measured | None,
) -> None:
    balanced = choose("balanced", found)
    assert (balanced.selected, balanced.measured) == ("bnb-int8", False)
    assert ("gpu-busy: in use" in balanced.reason) == (found is not None)
    assert "the probes and the matrix decide" in balanced.reason
    assert choose("latency", found).selected == "half"
    assert choose("accuracy", found).selected == "half"
    assert choose("memory", found).selected == "bnb-nf4"
    lost = loser(choose("latency", found), "qdoctor-switchback").lost
    assert lost == "only a measurement can show that it is not slower than half"
    assert choose("balanced", found, max_error=0.005).selected == "half"


def test_nothing_usable_selects_nothing_and_says_why() -> None:
    nothing = [verdict(name, "no") for name in ("half", "bnb-int8")]
    found = choose("balanced", None, nothing)
    assert found.selected is None
    assert "why no" in found.reason


def test_a_selection_holds_all_it_was_decided_by() -> None:
    first = choose("latency", measured(FAST))
    again = choose("latency", measured_in(first))
    assert again.candidates == first.candidates
    assert (again.selected, again.reason) == (first.selected, first.reason)
