"""The backend ``half``: the baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from qdoctor.backends import named  # noqa: E402 - torch first
from qdoctor.backends.half import HalfLinear  # noqa: E402
from qdoctor.backends.precision import half_dtype  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_layer_in_half_precision_is_copied(device: Any, dtype: Any) -> None:  # noqa: ANN401
    linear = torch.nn.Linear(64, 48, device=device, dtype=dtype)
    layer = named("half").replaced(linear)
    assert type(layer) is torch.nn.Linear
    assert torch.equal(layer.weight, linear.weight)
    assert layer.weight.data_ptr() != linear.weight.data_ptr()
    assert "already" in named("half").spares(linear)


def test_a_wide_layer_multiplies_in_half_precision(
    device: Any,  # noqa: ANN401
    gaussian: Callable[..., Any],
    relative: Callable[[Any, Any], float],
) -> None:
    linear = gaussian(64, 48, device)
    kind = named("half")
    layer = kind.replaced(linear)
    dtype = half_dtype(device)
    assert isinstance(layer, HalfLinear)
    assert layer.weight.dtype == dtype
    assert str(dtype) in repr(layer)
    assert not kind.spares(linear)
    x = torch.randn(32, 64, device=device)
    assert 0.0 < relative(layer(x), linear(x)) <= 0.005
    assert torch.equal(layer(x), layer(x.to(dtype)).float())
    assert layer(x.double()).dtype == torch.float64


def test_a_wide_weight_trains_at_its_width(device: Any, gaussian: Callable[..., Any]) -> None:  # noqa: ANN401
    layer = named("half").replaced(gaussian(64, 48, device), training=True)
    layer(torch.randn(5, 64, device=device)).sum().backward()
    assert layer.weight.dtype == layer.weight.grad.dtype == torch.float32
    before = layer.weight.detach().clone()
    torch.optim.SGD(layer.parameters(), 1e-5).step()  # a step that bfloat16 would round away
    assert not torch.equal(before, layer.weight)


def test_a_frozen_weight_stays_frozen() -> None:
    linear = torch.nn.Linear(64, 48)
    linear.weight.requires_grad_(False)  # noqa: FBT003
    layer = named("half").replaced(linear, training=True)
    assert not layer.weight.requires_grad
    assert layer.bias.requires_grad


def test_no_transformers_configuration_is_needed() -> None:
    assert named("half").transformers_config(["lm_head"]) is None
