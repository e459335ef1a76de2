"""Quantization and product as torch operators: opaque to torch.compile, hence no graph break.

``torch.ops.qdoctor.quantize_rows(x)`` and ``torch.ops.qdoctor.int8_linear(...)``; each runs the way
that proved itself on its operands' device (qdoctor.nn.products).
"""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

from typing import Any

import torch  # noqa: TID253 - the layers' own package

from qdoctor.nn.products import Quantized, way_on

_LIBRARY = torch.library.Library("qdoctor", "DEF")
_LIBRARY.define("quantize_rows(Tensor x) -> (Tensor, Tensor)")
_LIBRARY.define(
    "int8_linear(Tensor a, Tensor scale_a, Tensor b, Tensor scale_b, Tensor? bias, str dtype)"
    " -> Tensor"
)


def quantize_rows(x: Any) -> Quantized:
    """Quantize x (M x K, floating) row by row: (int8 M x K, float32 scales M)."""
    q, scale = torch.ops.qdoctor.quantize_rows(x)
    return q, scale


def quantize_whole(x: Any) -> Quantized:
    """Quantize x (M x K, floating) by its largest magnitude: (int8 M x K, float32 scale 1)."""
    if x.numel() == 0:
        return x.to(torch.int8), torch.zeros(1, device=x.device)
    absmax = torch.linalg.vector_norm(x, ord=float("inf")).float()
    inverse = 127.0 / torch.where(absmax > 0.0, absmax, 1.0)
    return (x.float() * inverse).round().to(torch.int8).contiguous(), (absmax / 127.0).view(1)


def int8_linear(a: Quantized, b: Quantized, bias: Any, dtype: Any) -> Any:
    """Multiply a (M x K) by b (N x K) transposed in int8, rescale, add the bias: dtype M x N.

    b's scales may be one for all its rows. Raises NoInt8ProductError.
    """
    return torch.ops.qdoctor.int8_linear(*a, *b, bias, str(dtype).rpartition(".")[2])


def _quantize_rows(x: Any) -> Quantized:
    if x.numel() == 0:
        return x.to(torch.int8).contiguous(), torch.zeros(x.shape[0], device=x.device)
    return way_on(x.device).quantize(x)


def _int8_linear(  # noqa: PLR0913, PLR0917 - an operator takes plain arguments
    a: Any, scale_a: Any, b: Any, scale_b: Any, bias: Any, dtype: str
) -> Any:
    rows, columns, kind = a.shape[0], b.shape[0], getattr(torch, dtype)
    if not (rows and columns and a.shape[1]):
        zeros = torch.zeros((rows, columns), dtype=kind, device=a.device)
        return zeros if bias is None else (zeros + bias).to(kind)
    if scale_b.numel() != columns:
        scale_b = scale_b.expand(columns)
    return way_on(a.device).multiply((a, scale_a), (b, scale_b.contiguous()), bias, kind)


def _quantize_rows_shapes(x: Any) -> Quantized:
    return (
        torch.empty(x.shape, dtype=torch.int8, device=x.device),
        torch.empty(x.shape[:1], dtype=torch.float32, device=x.device),
    )


def _int8_linear_shape(a: Any, _sa: Any, b: Any, _sb: Any, _bias: Any, dtype: str) -> Any:
    shape = (a.shape[0], b.shape[0])
    return torch.empty(shape, dtype=getattr(torch, dtype), device=a.device)


_LIBRARY.impl("quantize_rows", _quantize_rows, "CompositeExplicitAutograd")
_LIBRARY.impl("int8_linear", _int8_linear, "CompositeExplicitAutograd")
_LIBRARY.impl("quantize_rows", _quantize_rows_shapes, "Meta")
_LIBRARY.impl("int8_linear", _int8_linear_shape, "Meta")
