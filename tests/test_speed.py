"""Two times are compared only where they may be."""

from __future__ import annotations

import msgspec
import pytest

from qdoctor.model import Observation
from qdoctor.speed import speedup

SHAPE = {"rows": 1024.0, "depth": 1024.0, "columns": 4096.0}
HALF = Observation(
    probe="half_gemm", outcome="passed", device="cuda:0", numbers={"milliseconds": 0.03, **SHAPE}
)
INT8 = Observation(
    probe="bnb_int8", outcome="passed", device="cuda:0", numbers={"milliseconds": 0.06, **SHAPE}
)


def test_twice_the_time_is_half_the_speed() -> None:
    assert speedup(INT8, HALF) == 0.5


@pytest.mark.parametrize(
    "other",
    [
        None,
        msgspec.structs.replace(HALF, outcome="wrong"),
        msgspec.structs.replace(HALF, device="cuda:1"),
        msgspec.structs.replace(HALF, numbers={**HALF.numbers, "rows": 4096.0}),
        msgspec.structs.replace(HALF, numbers={"milliseconds": 0.03}),
        msgspec.structs.replace(HALF, numbers=SHAPE),
    ],
)
def test_nothing_is_compared_with_what_was_measured_otherwise(other: Observation | None) -> None:
    assert speedup(INT8, other) is None
    assert other is None or speedup(other, INT8) is None or other.outcome != "passed"
