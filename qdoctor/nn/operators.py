"""The int8 product as a torch operator: opaque to torch.compile, hence no graph break.

``torch.ops.qdoctor.int8_linear(...)`` runs the way that proved itself on its operands' device
(qdoctor.nn.products); on plain tensors in eager mode it is left out (qdoctor.nn.quantizing.eager).
"""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

from typing import Any

import torch  # noqa: TID253 - the layers' own package

from qdoctor.nn.products import Quantized, way_on
from qdoctor.nn.quantizing import eager

_LIBRARY = torch.library.Library("qdoctor", "FRAGMENT")
_LIBRARY.define(
    "int8_linear(Tensor a, Tensor scale_a, Tensor b, Tensor scale_b, Tensor? bias, str dtype)"
    " -> Tensor"
)


def int8_linear(a: Quantized, b: Quantized, bias: Any, dtype: Any) -> Any:
    """Multiply a (M x K) by b (N x K) transposed in int8, rescale, add the bias: dtype M x N.

    b's scales may be one for all its rows. Raises NoInt8ProductError.
    """
    if eager(a[0]):
        return _multiplied(a, b, bias, dtype)
    return torch.ops.qdoctor.int8_linear(*a, *b, bias, str(dtype).rpartition(".")[2])


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
    return way_on(a[0].device).multiply(a, (b[0], b[1].contiguous()), bias, dtype)


def _int8_linear_shape(a: Any, _sa: Any, b: Any, _sb: Any, _bias: Any, dtype: str) -> Any:
    shape = (a.shape[0], b.shape[0])
    return torch.empty(shape, dtype=getattr(torch, dtype), device=a.device)


_LIBRARY.impl("int8_linear", _int8_linear, "CompositeExplicitAutograd")
_LIBRARY.impl("int8_linear", _int8_linear_shape, "Meta")
