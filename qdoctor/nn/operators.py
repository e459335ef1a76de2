"""The int8 product as torch operators: opaque to torch.compile, hence no graph break.

``torch.ops.qdoctor.int8_linear(...)`` multiplies what is quantized already, ``quantizing_linear``
activations, by the way that proved itself on their device (qdoctor.nn.products); on plain tensors
in eager mode the operator is left out (qdoctor.nn.quantizing.eager).
"""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

from typing import Any

import torch  # noqa: TID253 - the layers' own package

from qdoctor.nn.products import Quantized, way_on
from qdoctor.nn.quantizing import eager, quantized_rows

_LIBRARY = torch.library.Library("qdoctor", "FRAGMENT")
_LIBRARY.define(
    "int8_linear(Tensor a, Tensor scale_a, Tensor b, Tensor scale_b, Tensor? bias, str dtype)"
    " -> Tensor"
)
_LIBRARY.define(
    "quantizing_linear(Tensor x, float steps, Tensor b, Tensor scale_b, Tensor? bias) -> Tensor"
)


def int8_linear(a: Quantized, b: Quantized, bias: Any, dtype: Any) -> Any:
    """Multiply a (M x K) by b (N x K) transposed in int8, rescale, add the bias: dtype M x N.

    b's scales may be one for all its rows. Raises NoInt8ProductError.
    """
    if eager(a[0]):
        return _multiplied(a, b, bias, dtype)
    return torch.ops.qdoctor.int8_linear(*a, *b, bias, str(dtype).rpartition(".")[2])


def quantizing_linear(x: Any, steps: float, b: Quantized, bias: Any) -> Any:
    """Multiply x (M x K, floating) by b (int8 N x K) transposed in int8: M x N in x's dtype.

    x is quantized by row, with scales max |row| / steps; b's scales may be one for all its rows.
    Raises NoInt8ProductError.
    """
    if eager(x):
        return _quantizing_linear(x, steps, *b, bias)
    return torch.ops.qdoctor.quantizing_linear(x, steps, *b, bias)


def _quantizing_linear(x: Any, steps: float, b: Any, scale_b: Any, bias: Any) -> Any:
    at_once = way_on(x.device).linear
    if at_once is None or not (x.numel() and b.numel()):
        return _multiplied(quantized_rows(x, steps), (b, scale_b), bias, x.dtype)
    bias = None if bias is None else bias.contiguous()
    return at_once(x, steps, b.contiguous(), scale_b.contiguous(), bias)


def _quantizing_linear_shape(x: Any, _steps: float, b: Any, _sb: Any, _bias: Any) -> Any:
    return torch.empty((x.shape[0], b.shape[0]), dtype=x.dtype, device=x.device)


def _int8_linear(  # noqa: PLR0913, PLR0917 - an operator takes plain arguments
    a: Any, scale_a: Any, b: Any, scale_b: Any, bias: Any, dtype: str
) -> Any:
    return _multiplied((a, scale_a), (b, scale_b), bias, getattr(torch, dtype))


def _multiplied(a: Quantized, b: Quantized, bias: Any, dtype: Any) -> Any:
    (rows, depth), columns = a[0].shape, b[0].shape[0]
    if not (rows and columns and depth):
        zeros = torch.zeros((rows, columns), dtype=dtype, device=a[0].device)
        return zeros if bias is None else (zeros + bias).to(dtype)
    bias = None if bias is None else bias.contiguous()
    b = (b[0].contiguous(), b[1].contiguous())
    return way_on(a[0].device).multiply(a, b, bias, dtype)


def _int8_linear_shape(a: Any, _sa: Any, b: Any, _sb: Any, _bias: Any, dtype: str) -> Any:
    shape = (a.shape[0], b.shape[0])
    return torch.empty(shape, dtype=getattr(torch, dtype), device=a.device)


_LIBRARY.impl("int8_linear", _int8_linear, "CompositeExplicitAutograd")
_LIBRARY.impl("int8_linear", _int8_linear_shape, "Meta")
_LIBRARY.impl("quantizing_linear", _quantizing_linear, "CompositeExplicitAutograd")
_LIBRARY.impl("quantizing_linear", _quantizing_linear_shape, "Meta")
