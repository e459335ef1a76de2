"""SwitchBack with gradients: int8 forward and input gradient, 16-bit weight gradient.

Method: Wortsman et al. 2023, "Stable and low-precision training for large-scale vision-language
models" (arXiv:2304.13013), algorithms 1 (SwitchBack), 3 (memory efficient) and 4 (vector-wise).
Unlike there, a weight is quantized once a step: the scales of its rows, which lie along the axis
that the input gradient sums over, go into the columns of the output gradient before that is
quantized, and the int8 weight of the forward pass serves once more, transposed.
"""

# ruff: noqa: ANN401 - torch is untyped here
# mypy: disable-error-code="misc, untyped-decorator"

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch  # noqa: TID253 - the layers' own package
from torch.autograd.function import once_differentiable  # noqa: TID253

from qdoctor.nn.operators import int8_linear, quantizing_linear
from qdoctor.nn.quantizing import (
    STEPS,
    dequantized,
    eager,
    gradient_operands,
    quantize_rows,
    quantize_two,
    quantize_whole,
    training,
)

if TYPE_CHECKING:
    from qdoctor.nn.products import Quantized

BESIDE_MAGNITUDES = STEPS * STEPS
"""Steps of activations whose other operand comes with magnitudes instead of scales: the product
of scale and magnitude is then what an int8 sum is to be multiplied by."""


class How(NamedTuple):
    """How a layer quantizes its weight, and what it keeps for the backward pass."""

    vector_wise: bool
    mem_efficient: bool


def quantize_weight(weight: Any, *, vector_wise: bool) -> Quantized:
    """Quantize a weight (N x K): (int8 N x K, its float32 magnitudes: N for rows, or 1)."""
    return quantize_rows(weight, 1.0) if vector_wise else quantize_whole(weight)


def trained(x: Any, weight: Any, bias: Any, how: How) -> Any:
    """Return x (..., K), at least 2-D, times weight (N x K) transposed plus bias, in x's dtype."""
    if _wanted(x, bias) or _wanted(weight):
        return Trained.apply(x, weight, bias, how)
    return _both_quantized(x, weight, bias, how)[0]


def prepared(x: Any, q: Any, absmax: Any, bias: Any) -> Any:
    """Do what ``trained`` does with a weight that was quantized beforehand, and is frozen."""
    if _wanted(x, bias):
        return Prepared.apply(x, q, absmax, bias)
    return _forward(x, (q, absmax), bias)


def _wanted(tensor: Any, bias: Any = None) -> bool:
    return (
        torch.is_grad_enabled()
        and (tensor.requires_grad or (bias is not None and bias.requires_grad))
        and not torch.jit.is_tracing()  # a trace is for inference, and cannot keep a function
    )


def _rows(x: Any) -> Any:
    return x if x.dim() == 2 else x.flatten(0, -2)  # noqa: PLR2004 - views take their time


def _shaped(rows: Any, like: Any) -> Any:
    """Give rows the leading sizes of what they were made from."""
    return rows if like.dim() == 2 else rows.view((*like.shape[:-1], rows.shape[1]))  # noqa: PLR2004


def _forward(x: Any, matrix: Quantized, bias: Any) -> Any:
    return _shaped(quantizing_linear(_rows(x), BESIDE_MAGNITUDES, matrix, bias), x)


def _both_quantized(x: Any, weight: Any, bias: Any, how: How) -> tuple[Any, ...]:
    """The output, x or its rows, their quantized form (of use if mem_efficient), the weight's."""
    kernels = training(x, weight)
    if kernels and x.is_contiguous():
        whole, kept = not how.vector_wise, how.mem_efficient
        y, *matrix, q, scale = kernels.forward(x, BESIDE_MAGNITUDES, weight, bias, whole, kept)
        return y, x, (q, scale), matrix
    rows = _rows(x)
    q, scale, *matrix = quantize_two(rows, weight, BESIDE_MAGNITUDES, whole=not how.vector_wise)
    y = int8_linear((q, scale), tuple(matrix), bias, x.dtype)
    return _shaped(y, x), rows, (q, scale), matrix


class Trained(torch.autograd.Function):
    """``apply(x, weight, bias, how)`` -> y.

    Kept for the backward pass: x, for the weight's gradient, as int8 with a scale a row if
    mem_efficient; and the int8 weight, for x's.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, how: How) -> Any:
        """Return x times weight transposed plus bias, in x's dtype."""
        y, rows, quantized, matrix = _both_quantized(x, weight, bias, how)
        ctx.save_for_backward(*matrix, *(quantized if how.mem_efficient else (rows,)))
        ctx.dtypes = (weight.dtype, None if bias is None else bias.dtype)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> tuple[Any, ...]:
        """Return the gradients of x (through int8), weight and bias (in the gradient's dtype)."""
        if not torch.is_grad_enabled():
            return _trained_gradients(ctx, grad)
        if ctx.needs_input_grad[1] and not grad.requires_grad:
            grad = grad.detach().requires_grad_()  # the gradients depend on the weight all the same
        made: tuple[Any, ...] = _trained_once(ctx, grad)
        return made


def _trained_gradients(ctx: Any, grad: Any) -> tuple[Any, ...]:
    q, absmax, *inputs = ctx.saved_tensors  # read once: checkpoints recompute for one use
    for_x, for_weight, for_bias, _ = ctx.needs_input_grad
    weight_dtype, bias_dtype = ctx.dtypes
    grad_x = sums = None
    if for_x:
        grad_x, sums = _input_gradient(grad, (q, absmax), bias_dtype if for_bias else None)
    return (
        grad_x,
        _weight_gradient(grad, inputs, weight_dtype) if for_weight else None,
        _bias_gradient(grad, sums, bias_dtype) if for_bias else None,
        None,
    )


_trained_once = once_differentiable(_trained_gradients)


class Prepared(torch.autograd.Function):
    """``apply(x, q, absmax, bias)`` -> y, the weight (N x K) quantized beforehand and frozen."""

    @staticmethod
    def forward(ctx: Any, x: Any, q: Any, absmax: Any, bias: Any) -> Any:
        """Return x times the weight transposed plus bias, in x's dtype."""
        ctx.save_for_backward(q, absmax)
        ctx.dtype = None if bias is None else bias.dtype
        return _forward(x, (q, absmax), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Any) -> tuple[Any, ...]:
        """Return the gradients of x, through int8, and of the bias."""
        q, absmax = ctx.saved_tensors
        for_x, _, _, for_bias = ctx.needs_input_grad
        grad_x = sums = None
        if for_x:
            grad_x, sums = _input_gradient(grad, (q, absmax), ctx.dtype if for_bias else None)
        return grad_x, None, None, _bias_gradient(grad, sums, ctx.dtype) if for_bias else None


def _input_gradient(grad: Any, matrix: Quantized, sums_dtype: Any) -> tuple[Any, Any]:
    """Multiply the output gradient (..., N) by the weight: ((..., K), column sums if wanted)."""
    q, absmax = matrix
    kernels = training(grad, q)
    if kernels and grad.is_contiguous():
        made: tuple[Any, Any] = kernels.input_gradient(
            grad, BESIDE_MAGNITUDES, q, absmax, sums_dtype
        )
        return made
    rows = _rows(grad)
    factor, right = (None, absmax) if absmax.numel() == 1 else (absmax, _one(absmax))
    left, scale, turned, sums = gradient_operands(rows, q, factor, BESIDE_MAGNITUDES, sums_dtype)
    return _shaped(int8_linear((left, scale), (turned, right), None, rows.dtype), grad), sums


def _weight_gradient(grad: Any, inputs: list[Any], dtype: Any) -> Any:
    """Multiply the output gradient (..., N) transposed by the input: N x K of that dtype."""
    x = _dense(inputs, grad.dtype)
    made = torch.mm(_rows(grad).t(), _rows(x))
    return made if made.dtype == dtype else made.to(dtype)


_ones: dict[Any, Any] = {}


def _one(beside: Any) -> Any:
    """The number 1 on that tensor's device, made once where nothing records what is done."""
    if not eager(beside) or (beside.is_cuda and torch.cuda.is_current_stream_capturing()):
        return beside.new_ones(1)
    if beside.device not in _ones:
        _ones[beside.device] = beside.new_ones(1)
    return _ones[beside.device]


def _dense(inputs: list[Any], dtype: Any) -> Any:
    if len(inputs) == 1:
        return inputs[0] if inputs[0].dtype == dtype else inputs[0].to(dtype)
    q, scale = inputs
    return dequantized(q, scale, dtype, STEPS)


def _bias_gradient(grad: Any, sums: Any, dtype: Any) -> Any:
    return _rows(grad).sum(0).to(dtype) if sums is None else sums
