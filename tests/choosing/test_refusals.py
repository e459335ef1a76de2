"""Who is no candidate, and who loses against half; ``test_objectives`` has what comes of it."""

from __future__ import annotations

import pytest

from qdoctor.choosing.measured import Figures
from qdoctor.choosing.reasons import NO_PROBE
from qdoctor.choosing.refusals import doubtful, is_slower, refused, ruled_out, score
from qdoctor.matrix import shipped
from qdoctor.model import Asked
from tests.choosing.conftest import measured, verdict, verdicts


def taking(
    ratio: float, size: float = 1.0, *, spread: float = 0.01, disturbed: bool = False
) -> Figures:
    return Figures(
        milliseconds=ratio, ratio=ratio, speedup=1 / ratio, total_ratio=ratio, device_ratio=ratio,
        spread=spread, error=0.01, bytes_per_weight=size, disturbed=disturbed,
    )  # fmt: skip


HALF = taking(1.0, 2.0)


def test_half_has_a_score_of_one_and_less_is_better() -> None:
    for objective in ("latency", "balanced", "memory", "accuracy"):
        assert score(objective, HALF, HALF) == 1.0
    assert score("balanced", taking(1.5), HALF) == 0.75
    assert score("latency", taking(1.5), HALF) == 1.5
    assert taking(1.0, 1.0039).sure_size == taking(1.0, 1.0).sure_size


def test_slower_means_by_more_than_both_spreads() -> None:
    assert is_slower(taking(1.03), HALF)
    assert not is_slower(taking(1.019), HALF)
    assert not is_slower(taking(1.5, spread=0.6), HALF)  # nobody knows


def test_the_reason_that_holds_first_is_the_one_told() -> None:
    judged = [verdict("half"), verdict("bnb-nf4", "no"), verdict("torch-fp8", ran=False)]
    told = refused(Asked("latency"), judged, measured({"half": 1.0}), shipped())
    assert told == {
        "bnb-nf4": "it cannot be used here: why no",
        "torch-fp8": NO_PROBE,
    }
    assert refused(Asked(deny=["half"]), judged, measured({"half": 1.0}), shipped())["half"] == (
        "it is denied"
    )
    assert refused(Asked("memory"), verdicts("half"), measured({"half": 1.0}), shipped()) == {}


@pytest.mark.parametrize(
    ("objective", "out"),
    [
        ("latency", {"slow", "slowest"}),
        ("accuracy", {"slow", "slowest"}),
        ("balanced", {"slowest"}),
        ("memory", {"slowest"}),
    ],
)
def test_what_loses_against_half_by_each_objective(objective: str, out: set[str]) -> None:
    field = {"half": HALF, "fast": taking(0.9), "slow": taking(1.5), "slowest": taking(9.0)}
    assert ruled_out(Asked(objective), field, HALF) == out  # type: ignore[arg-type]


def test_without_half_as_a_candidate_only_memory_bounds_the_time() -> None:
    field = {"slow": taking(1.5), "slowest": taking(9.0)}
    assert ruled_out(Asked("latency"), field, HALF) == set()
    assert ruled_out(Asked("memory"), field, HALF) == {"slowest"}
    assert ruled_out(Asked("memory"), {"slowest": taking(9.0)}, HALF) == set()


@pytest.mark.parametrize("disturbed", [True, False])
def test_doubt_needs_a_disturbed_measurement(disturbed: bool) -> None:  # noqa: FBT001
    sure = {"half": HALF, "near": taking(0.95, spread=0.09)}
    assert doubtful(Asked("latency"), sure, {}) == {}
    unsure = {"half": HALF, "near": taking(0.95, spread=0.2, disturbed=disturbed)}
    assert list(doubtful(Asked("latency"), unsure, {})) == ["near"]
    assert doubtful(Asked("memory"), unsure, {}) == {}
    assert doubtful(Asked("latency"), unsure, {"half": "it is denied"}) == {}
