"""A plain demand that a GPU meets refuses nobody; what was printed for a GPU does."""

from __future__ import annotations

import pytest

from qdoctor.rules.demanded_sm import demand_met


@pytest.mark.parametrize(
    ("line", "sm"),
    [
        ("LLM.int8() requires a GPU with compute capability 7.5 or higher", "7.5"),
        ("Marlin kernels only support compute capability >= 8.0", "12.0"),
        ("needs sm75 and above", "8.0"),
        ("at least compute capability (8, 0)", "8.6"),
        ("FP8 precision is supported for SM 8.9 or later.", "8.9"),
    ],
)
def test_a_demand_is_met_by_a_gpu_that_is_as_new(line: str, sm: str) -> None:
    assert demand_met(line, sm)


@pytest.mark.parametrize(
    ("line", "sm"),
    [
        ("requires compute capability 7.5 or higher", "7.0"),
        ("requires compute capability 7.5 or higher", None),
        ("at least compute capability 8.0 or, for fp8, compute capability 8.9", "8.6"),
        ("Required capability: at least 75. Current capability: 70.", "8.0"),
        ("only supports compute capability 8.0", "9.0"),
        ("compute capability 8.6 is not supported, 8.0 or newer", "9.0"),
        ("CUDA 12.4 or higher is required for compute capability 8.9.", "8.9"),
        ("needs a newer GPU", "9.0"),
    ],
)
def test_what_is_no_plain_demand_or_not_met_is_not(line: str, sm: str | None) -> None:
    assert not demand_met(line, sm)
