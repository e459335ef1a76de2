"""SwitchBack as autograd functions: int8 forward and input gradient, 16-bit weight gradient.

Method: Wortsman et al. 2023, "Stable and low-precision training for large-scale vision-language
models" (arXiv:2304.13013), algorithms 1 (SwitchBack), 3 (memory efficient) and 4 (vector-wise).
"""

# ruff: noqa: ANN401 - torch is untyped here
# mypy: disable-error-code="misc, untyped-decorator"

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch  # noqa: TID253 - the layers' own package
from torch.autograd.function import once_differentiable  # noqa: TID253

from qdoctor.nn.operators import int8_linear, quantize_rows, quantize_whole

if TYPE_CHECKING:
    from qdoctor.nn.products import Quantized


class How(NamedTuple):
    """How a layer quantizes its weight, and what it keeps for the backward pass."""

    vector_wise: bool
    mem_efficient: bool


def quantize_weight(weight: Any, *, vector_wise: bool) -> Quantized:
    """Quantize a weight (N x K): one scale a row, or one for all of it."""
    return quantize_rows(weight) if vector_wise else quantize_whole(weight)


class Trained(torch.autograd.Function):
    """``apply(x, weight, bias, how)`` -> y; x is (..., K), at least 2-D.

    The weight is quantized in each pass. mem_efficient keeps int8 activations and weight for the
    backward pass instead of those of full width; it knows one scale a weight only.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, how: How) -> Any:
        """Return x times weight transposed plus bias, in x's dtype."""
        rows = x.flatten(0, -2)
        quantized = quantize_rows(rows)
        matrix = quantize_weight(weight, vector_wise=how.vector_wise)
        ctx.save_for_backward(*((*quantized, *matrix) if how.mem_efficient else (rows, weight)))
        ctx.how = how
        ctx.dtypes = (weight.dtype, None if bias is None else bias.dtype)
        y = int8_linear(quantized, matrix, bias, x.dtype)
        return y.view((*x.shape[:-1], weight.shape[0]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Any) -> tuple[Any, ...]:
        """Return the gradients of x (through int8), weight and bias (in the gradient's dtype)."""
        saved = ctx.saved_tensors  # once: gradient checkpointing recomputes them for a single use
        rows = grad.flatten(0, -2)
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            y = int8_linear(quantize_rows(rows), _transposed(ctx.how, saved), None, grad.dtype)
            grad_x = y.view((*grad.shape[:-1], y.shape[1]))
        if ctx.needs_input_grad[1]:
            grad_weight = (rows.t() @ _inputs(ctx.how, saved, rows.dtype)).to(ctx.dtypes[0])
        return grad_x, grad_weight, _bias_gradient(ctx, rows), None


def _transposed(how: How, saved: tuple[Any, ...]) -> Quantized:
    """Return the weight as K x N, quantized: its columns each on their own if vector-wise."""
    if how.mem_efficient:
        _, _, q, scale = saved
    else:
        weight = saved[1]
        if how.vector_wise:
            return quantize_rows(weight.t())
        q, scale = quantize_whole(weight)
    return q.t().contiguous(), scale


def _inputs(how: How, saved: tuple[Any, ...], dtype: Any) -> Any:
    if how.mem_efficient:
        q, scale, _, _ = saved
        return (q * scale[:, None]).to(dtype)
    return saved[0].to(dtype)


def _bias_gradient(ctx: Any, rows: Any) -> Any:
    return rows.sum(0).to(ctx.dtypes[1]) if ctx.needs_input_grad[2] else None


class Prepared(torch.autograd.Function):
    """``apply(x, q, scale, bias)`` -> y, the weight (N x K) quantized beforehand and frozen."""

    @staticmethod
    def forward(ctx: Any, x: Any, q: Any, scale: Any, bias: Any) -> Any:
        """Return x times the weight transposed plus bias, in x's dtype."""
        ctx.save_for_backward(q, scale)
        ctx.dtypes = (None, None, None if bias is None else bias.dtype)
        y = int8_linear(quantize_rows(x.flatten(0, -2)), (q, scale), bias, x.dtype)
        return y.view((*x.shape[:-1], q.shape[0]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Any) -> tuple[Any, ...]:
        """Return the gradients of x, through int8, and of the bias."""
        q, scale = ctx.saved_tensors
        rows = grad.flatten(0, -2)
        grad_x = grad_bias = None
        if ctx.needs_input_grad[0]:
            # The weight's scales lie along the summed axis here: they go into the gradient's rows.
            ones = torch.ones(1, device=q.device)
            transposed = (q.t().contiguous(), ones)
            y = int8_linear(quantize_rows(rows.float() * scale), transposed, None, grad.dtype)
            grad_x = y.view((*grad.shape[:-1], q.shape[1]))
        if ctx.needs_input_grad[3]:
            grad_bias = rows.sum(0).to(ctx.dtypes[2])
        return grad_x, None, None, grad_bias
