"""SwitchBackLinear within its worst-case error, for shapes and strides that hypothesis makes up.

Rounding a number to one of 255 steps is off by half a step at most, so every output has a bound
that holds for any data: what both operands may be off, times the magnitude of the other.
"""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from qdoctor import nn  # noqa: E402 - torch first

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = {
    "global": nn.SwitchBackLinearGlobal,
    "vector": nn.SwitchBackLinearVectorwise,
    "memory": nn.SwitchBackLinearGlobalMemEfficient,
}
WHOLE = {"global", "memory"}
EPSILON = {"float64": 1e-6, "float32": 1e-6, "float16": 2e-3, "bfloat16": 1.6e-2}
"""Rounding of the result, some of the sums included; scales are float32 for every dtype."""
HALF_STEP = 0.501 / 127.0

shapes = st.lists(st.integers(0, 5), min_size=0, max_size=3).map(tuple)
layouts = st.sampled_from(["plain", "permuted", "every other", "expanded"])
many = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
made_up: Callable[..., Any] = given(
    lead=shapes, depth=st.integers(1, 70), columns=st.integers(1, 40), layout=layouts,
    dtype=st.sampled_from(sorted(EPSILON)), bias=st.booleans(), exponent=st.integers(-12, 4),
    seed=st.integers(0, 2**16),
)  # fmt: skip


def laid_out(shape: tuple[int, ...], layout: str, **kind: Any) -> Any:
    """Gaussian numbers of that shape, in that place of a larger or turned tensor."""
    if layout == "every other":
        return torch.randn(*shape[:-1], 2 * shape[-1], **kind)[..., ::2]
    if layout == "permuted":
        return torch.randn(shape[::-1], **kind).permute(*reversed(range(len(shape))))
    if layout == "expanded" and len(shape) > 1:
        return torch.randn(1, *shape[1:], **kind).expand(shape)
    return torch.randn(shape, **kind)


def off(x: Any, *, whole: bool) -> Any:
    """Return by how much quantizing may change each number of x: one scale a row, or for all."""
    if x.numel() == 0:
        return torch.zeros_like(x)
    most = x.abs().max() if whole else x.abs().amax(-1, keepdim=True)
    return (most * HALF_STEP).expand_as(x)


def by_row(grads: Any, weight: Any, w_off: Any) -> tuple[Any, Any]:
    """Errors of the input's gradient through a weight whose scales lie along the summed axis.

    Those go into the gradient before it is quantized. w_off is half a step: a scale, as it were.
    """
    scales = w_off[:, 0].clamp_min(1e-300) if weight.numel() else w_off.sum(1)
    return off(grads * scales, whole=False) / scales, w_off.T


def assert_product(got: Any, a: Any, b: Any, dtype: str, extra: Any = 0.0, **by: Any) -> None:
    """Check a product of a by b transposed (+ extra), element-wise.

    by: pairs of a's error and b's error, one for each way in which it may be quantized.
    """
    wanted = a @ b.T + extra
    slack = torch.zeros_like(wanted)
    for a_off, b_off in by["by"]:
        one = a.abs() @ b_off.T + a_off @ b.abs().T + a_off @ b_off.T
        slack = torch.maximum(slack, one)
    scale = a.abs() @ b.abs().T + abs(extra)
    bound = slack + EPSILON[dtype] * (scale + slack) + torch.finfo(getattr(torch, dtype)).tiny
    assert torch.isfinite(got).all()
    assert ((got.double() - wanted).abs() <= bound).all()


@pytest.mark.parametrize("kind", KINDS)
@many
@made_up
def test_nothing_is_off_by_more_than_its_steps(device: Any, kind: str, **drawn: Any) -> None:
    torch.manual_seed(drawn["seed"])
    real, dtype = getattr(torch, drawn["dtype"]), drawn["dtype"]
    shape = (*drawn["lead"], drawn["depth"])
    place = {"device": device, "dtype": real}
    layer = KINDS[kind](drawn["depth"], drawn["columns"], drawn["bias"], **place)
    x = (laid_out(shape, drawn["layout"], **place) * 2.0 ** drawn["exponent"]).requires_grad_()
    grad = laid_out((*drawn["lead"], drawn["columns"]), drawn["layout"], **place)
    y = layer(x)
    y.backward(grad)
    assert (y.shape, y.dtype) == (grad.shape, real)

    rows, grads = x.detach().double().reshape(-1, shape[-1]), grad.double().reshape(-1, y.shape[-1])
    weight, whole = layer.weight.detach().double(), kind in WHOLE
    x_off, bias = (
        off(rows, whole=False),
        0.0 if layer.bias is None else layer.bias.detach().double(),
    )
    w_off = off(weight, whole=whole)
    assert_product(y.detach().reshape(grads.shape), rows, weight, dtype, bias, by=[(x_off, w_off)])
    assert x.grad is not None
    # The weight for it is quantized anew, by column, or is the one of the forward pass.
    errors = [(off(grads, whole=False), off(weight.T, whole=whole)), by_row(grads, weight, w_off)]
    assert_product(x.grad.reshape(rows.shape), grads, weight.T, dtype, by=errors)
    kept = x_off if kind == "memory" else torch.zeros_like(rows)
    errors = [(torch.zeros_like(grads.T), kept.T)]
    assert_product(layer.weight.grad, grads.T, rows.T, dtype, by=errors)
    if layer.bias is not None:
        slack = EPSILON[dtype] * grads.abs().sum(0)
        assert ((layer.bias.grad.double() - grads.sum(0)).abs() <= slack).all()


@pytest.mark.parametrize("kind", KINDS)
@many
@made_up
def test_prepared_it_keeps_to_the_same_bounds(device: Any, kind: str, **drawn: Any) -> None:
    torch.manual_seed(drawn["seed"])
    real, dtype = getattr(torch, drawn["dtype"]), drawn["dtype"]
    shape = (*drawn["lead"], drawn["depth"])
    place = {"device": device, "dtype": real}
    layer = KINDS[kind](drawn["depth"], drawn["columns"], drawn["bias"], **place).eval()
    weight = layer.weight.detach().double()
    layer.prepare_for_eval()
    x = (laid_out(shape, drawn["layout"], **place) * 2.0 ** drawn["exponent"]).requires_grad_()
    y = layer(x)
    grad = laid_out(tuple(y.shape), drawn["layout"], **place)
    y.backward(grad)

    rows, grads = x.detach().double().reshape(-1, shape[-1]), grad.double().reshape(-1, y.shape[-1])
    w_off = off(weight, whole=kind in WHOLE)
    bias = 0.0 if layer.bias is None else layer.bias.detach().double()
    errors = [(off(rows, whole=False), w_off)]
    assert_product(y.detach().reshape(grads.shape), rows, weight, dtype, bias, by=errors)
    assert x.grad is not None
    errors = [by_row(grads, weight, w_off)]
    assert_product(x.grad.reshape(rows.shape), grads, weight.T, dtype, by=errors)
