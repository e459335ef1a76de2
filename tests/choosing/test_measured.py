"""What several shapes come to: means, sums, bytes and spreads against half."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdoctor.choosing.measured import Measured, compared, figures, lacking
from qdoctor.model import Timed
from tests.choosing.conftest import over, timed

TIMES = st.floats(0.001, 100)
PAIRS = st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=6)


def shapes(count: int) -> list[tuple[int, int, int]]:
    return [(2 ** (at % 3), 64 + at, 32) for at in range(count)]


def measured(pairs: list[tuple[float, float]], counts: list[int] | None = None) -> Measured:
    half, own = ([pair[at] for pair in pairs] for at in (0, 1))
    found = over(shapes(len(pairs)), half=half, bnb_int8=own)
    return msgspec.structs.replace(found, counts=counts)


@given(PAIRS)
def test_the_speedup_is_the_geometric_mean_and_the_milliseconds_the_sum(
    pairs: list[tuple[float, float]],
) -> None:
    own = figures(measured(pairs), "bnb-int8")
    assert own
    ratios = [math.log(half / mine) for half, mine in pairs]
    assert own.speedup == pytest.approx(math.exp(sum(ratios) / len(ratios)))
    assert own.ratio == pytest.approx(1 / own.speedup)
    assert own.milliseconds == pytest.approx(sum(mine for _, mine in pairs))
    assert own.total_ratio == pytest.approx(own.milliseconds / sum(half for half, _ in pairs))
    assert own.spread == pytest.approx(0.01)


@given(PAIRS, st.integers(1, 9))
def test_equal_counts_scale_the_sum_and_nothing_else(
    pairs: list[tuple[float, float]], count: int
) -> None:
    plain, counted = (
        figures(measured(pairs, counts), "bnb-int8") for counts in (None, [count] * len(pairs))
    )
    assert plain
    assert counted
    assert counted.milliseconds == pytest.approx(count * plain.milliseconds)
    assert counted.speedup == pytest.approx(plain.speedup)
    assert counted.total_ratio == pytest.approx(plain.total_ratio)


@given(PAIRS)
def test_half_is_as_fast_as_itself(pairs: list[tuple[float, float]]) -> None:
    half = figures(measured(pairs), "half")
    assert half
    assert half.ratio == half.speedup == half.total_ratio == pytest.approx(1.0)


def test_a_models_ratio_is_that_of_its_passes() -> None:
    """Two layers of prefill and one of decode: 15 over 20 ms, and 3 over 1."""
    each = [(4096, 64, 64), (4096, 64, 128), (1, 64, 64)]
    found = over(each, half=[5.0, 10.0, 1.0], bnb_int8=[2.5, 10.0, 3.0])
    own = figures(msgspec.structs.replace(found, counts=[2, 1, 1]), "bnb-int8")
    assert own
    assert own.ratio == pytest.approx(math.sqrt((15 / 20) * 3))


def test_bytes_count_by_weights() -> None:
    each = [(1, 100, 100), (1, 100, 300)]
    cells = {
        "half": [timed(1.0, shape=shape, size=2.0) for shape in each],
        "bnb-int8": [timed(1.0, shape=each[0], size=1.0), timed(1.0, shape=each[1], size=2.0)],
    }
    own = figures(Measured(each, cells), "bnb-int8")
    assert own
    assert own.bytes_per_weight == pytest.approx(1.75)


def test_the_worst_error_counts() -> None:
    each = shapes(2)
    cells = {
        "half": [timed(1.0, shape=shape, error=0.003) for shape in each],
        "bnb-int8": [timed(1.0, error=0.01), timed(1.0, error=0.02)],
    }
    own = figures(Measured(each, cells), "bnb-int8")
    assert own
    assert own.error == 0.02


def test_kernels_alone_leave_launching_out() -> None:
    slow_launch = timed(0.3)
    launched = msgspec.structs.replace(slow_launch, device_milliseconds=0.1, host_milliseconds=0.3)
    half = msgspec.structs.replace(timed(0.2), device_milliseconds=0.2)
    own = figures(Measured(shapes(1), {"half": [half], "bnb-int8": [launched]}), "bnb-int8")
    assert own
    assert own.ratio == pytest.approx(1.5)
    assert own.device_ratio == pytest.approx(0.5)


def test_what_cannot_be_compared_has_no_figures() -> None:
    found = over(shapes(2), half=[1.0, None], bnb_int8=[1.0, 1.0], bnb_nf4=[None, 1.0])
    assert compared(found) == [0]
    assert figures(found, "bnb-int8")
    assert figures(found, "bnb-nf4") is None
    assert [type(one) for one in lacking(found, "bnb-nf4")] == [Timed]
    assert figures(found, "torch-fp8") is None
    assert figures(Measured(shapes(1), {}), "half") is None
