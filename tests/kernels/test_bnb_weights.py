"""What bitsandbytes' 4-bit weights should be: codebooks, rounding, and what is off."""

# ruff: noqa: ANN401 - modules and tensors, without their types

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Load = Callable[[str], Any]

NF4 = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
)
"""QLoRA (arXiv 2305.14314), appendix E."""


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture
def weights(load: Load) -> Any:
    return load("_bnb_weights")


def test_the_quantiles_make_the_levels_that_the_paper_prints(weights: Any) -> None:
    assert weights.codebook("nf4") == pytest.approx(NF4, abs=1e-6)


def test_fp4_is_symmetric_and_has_two_zeros(weights: Any) -> None:
    levels = weights.codebook("fp4")
    assert levels == [-one for one in reversed(levels)]
    assert levels[7:10] == [0.0, 0.0, pytest.approx(1 / 192)]
    assert levels[-3:] == [pytest.approx(0.5), pytest.approx(2 / 3), 1.0]


def test_the_reference_rounds_to_the_nearest_level_of_each_block(weights: Any, torch: Any) -> None:
    weight = torch.zeros(2, 40)
    weight[0, :3] = torch.tensor([2.0, 0.93, -1.9])
    weight[1, 39] = -8.0  # alone with 15 others in the second block
    weight[1, 38] = 0.5
    values, scale = weights.reference(torch, weight, "fp4")
    assert (float(scale[0, 0]), float(scale[1, 39])) == (2.0, 8.0)
    assert values[0, :3].tolist() == pytest.approx([2.0, 1.0, -2.0])
    assert values[1, 38:].tolist() == pytest.approx([8 / 192, -8.0])


@pytest.mark.parametrize("nested", [False, True])
def test_values_off_their_level_are_told(weights: Any, torch: Any, *, nested: bool) -> None:
    torch.manual_seed(1)
    weight = torch.randn(30, 70)
    setting = weights.Setting("nf4", nested, torch.bfloat16, "cpu")
    right, scale = weights.reference(torch, weight, "nf4")
    assert weights.off(torch, weight, right.float(), setting) is None
    one_off = right.clone()
    one_off[3, 4] += 0.03 * scale[3, 4]
    assert weights.off(torch, weight, one_off, setting).startswith("1 of 2100 values are not")
    other_level = torch.where(right == 0, -0.09105003625 * scale, right)
    assert weights.off(torch, weight, other_level, setting) is not None
    assert weights.off(torch, weight, right * float("nan"), setting).startswith("2100 of 2100")


def test_scales_quantized_again_may_be_a_little_off(weights: Any, torch: Any) -> None:
    weight = torch.randn(30, 70)
    right, _scale = weights.reference(torch, weight, "nf4")
    plain, nested = (weights.Setting("nf4", one, torch.bfloat16, "cpu") for one in (False, True))
    assert weights.off(torch, weight, right * 1.005, plain) is not None
    assert weights.off(torch, weight, right * 1.005, nested) is None
