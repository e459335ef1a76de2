"""Quantization as torch operators: Triton's kernels where its product works, else plain torch.

Under torch.compile, tensor subclasses and function transforms each is an operator of
``torch.ops.qdoctor``, opaque, hence no graph break; on plain tensors in eager mode the dispatcher
is left out, which is most of the time that a small layer takes.
"""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - the layers' own package

from qdoctor.nn.products import NoInt8ProductError, Quantized, kernel, quantize_plain, way_on

if TYPE_CHECKING:
    from types import ModuleType

STEPS = 127.0
"""int8 is used from -127 to 127: a row is about q times its largest magnitude / 127."""
_LIBRARY = torch.library.Library("qdoctor", "FRAGMENT")
_PLAIN = (torch.Tensor, torch.nn.Parameter)


def eager(x: Any) -> bool:
    """Say whether nothing looks at what is called on x: no compiler, no mode, no subclass."""
    return (
        not torch.compiler.is_compiling()
        and type(x) in _PLAIN
        and not x.is_meta
        and not _modes()
        and not _transforms()
        and not _traced()
    )


_modes = getattr(torch._C, "_len_torch_dispatch_stack", lambda: 0)  # noqa: SLF001
_traced = getattr(torch._C, "_is_tracing", torch.jit.is_tracing)  # noqa: SLF001
_functorch = getattr(torch._C, "_functorch", None)  # noqa: SLF001
_transforms = getattr(_functorch, "peek_interpreter_stack", lambda: None)


def quantize_rows(x: Any, steps: float = STEPS, factor: Any = None) -> Quantized:
    """Quantize x (M x K, floating) row by row: (int8 M x K, float32 scales M, max |row| / steps).

    Columns are multiplied by factor (float32 K) first, if there is one.
    """
    if eager(x):
        return _quantize_rows(x, steps, factor)
    q, scale = torch.ops.qdoctor.quantize_rows(x, steps, factor)
    return q, scale


def quantize_two(x: Any, weight: Any, steps: float, *, whole: bool) -> tuple[Any, ...]:
    """Quantize x (M x K) as quantize_rows does, and a weight (N x K) by row or as a whole.

    (int8 M x K, scales M, int8 N x K, the weight's largest magnitudes: float32 N, or 1 if whole.)
    """
    if eager(x) and eager(weight):
        return _quantize_two(x, weight, steps, whole)
    made: tuple[Any, ...] = torch.ops.qdoctor.quantize_two(x, weight, steps, whole)
    return made


def gradient_operands(
    grad: Any, q: Any, factor: Any, steps: float, sums: Any = None
) -> tuple[Any, Any, Any, Any]:
    """Prepare an input gradient: grad (M x N) quantized by row, q (int8 N x K) transposed.

    (int8 M x N, scales M, int8 K x N, the sums of grad's columns: N of the dtype ``sums``, None
    without one.) Columns are multiplied by factor (float32 N) before they are quantized.
    """
    if eager(grad) and eager(q):
        return _gradient_operands(grad, q, factor, steps, sums)
    left, scale, right, added = torch.ops.qdoctor.gradient_operands(grad, q, factor, steps, sums)
    return left, scale, right, None if sums is None else added


def quantize_whole(x: Any) -> Quantized:
    """Quantize x (N x K, floating): (int8 N x K, its largest magnitude, float32 1)."""
    if eager(x):
        return _quantize_whole(x)
    q, absmax = torch.ops.qdoctor.quantize_whole(x)
    return q, absmax


def dequantized(q: Any, scale: Any, dtype: Any, times: float = 1.0) -> Any:
    """Multiply int8 q (M x K) by its rows' scales (float32 M), times a number: dtype M x K."""
    kernels = eager(q) and q.numel() and _triton(q)
    if kernels:
        return kernels.dequantized(q, scale, dtype, times)
    return (q * (scale * times)[:, None]).to(dtype)


def training(x: Any, beside: Any) -> ModuleType | None:
    """Return the kernels that take whole steps of training on x and what is multiplied with it.

    None where operators are looked for, where another way than Triton's serves, or all is empty.
    """
    if not (eager(x) and eager(beside) and x.numel() and beside.numel() and _triton(x)):
        return None
    return _training()


@functools.cache
def _training() -> ModuleType:
    return kernel("_switchback_training")


def _triton(x: Any) -> Any:
    """Return the kernels for x's device, None where Triton is not the way that serves there."""
    try:
        way = way_on(x.device)
    except NoInt8ProductError:  # quantizing needs none: a layer is prepared, to run in half
        return None
    return kernel("_switchback_quantize") if way.name == "triton" else None


def _quantize_rows(x: Any, steps: float, factor: Any) -> Quantized:
    if x.numel() == 0:
        return x.to(torch.int8).contiguous(), torch.zeros(x.shape[0], device=x.device)
    kernels = _triton(x)
    if kernels:
        q, scale = kernels.quantize_rows(x, steps, factor)
        return q, scale
    q, scale = quantize_plain(x if factor is None else x.float() * factor)
    return q, scale if steps == STEPS else scale * (STEPS / steps)


def quantized_rows(x: Any, steps: float) -> Quantized:
    """Quantize as ``quantize_rows`` does, without asking who looks on: for operators."""
    return _quantize_rows(x, steps, None)


def _quantize_two(x: Any, weight: Any, steps: float, whole: bool) -> tuple[Any, ...]:  # noqa: FBT001
    kernels = x.numel() and weight.numel() and _triton(x)
    if kernels:
        made: tuple[Any, ...] = kernels.quantize_two(x, weight, steps, whole=whole)
        return made
    theirs = _quantize_whole(weight) if whole else _quantize_rows(weight, 1.0, None)
    return (*_quantize_rows(x, steps, None), *theirs)


def _gradient_operands(
    grad: Any, q: Any, factor: Any, steps: float, sums: Any
) -> tuple[Any, Any, Any, Any]:
    kernels = grad.numel() and q.numel() and _triton(grad)
    if kernels:
        left, scale, right, added = kernels.gradient_operands(grad, q, factor, steps, sums)
        return left, scale, right, added
    added = None if sums is None else grad.sum(0).to(sums)
    return (*_quantize_rows(grad, steps, factor), q.t().contiguous(), added)


def _quantize_whole(x: Any) -> Quantized:
    if x.numel() == 0:
        return x.to(torch.int8).contiguous(), torch.zeros(1, device=x.device)
    kernels = _triton(x)
    if kernels:
        q, absmax = kernels.quantize_whole(x)
        return q, absmax
    largest = torch.linalg.vector_norm(x, ord=float("inf")).float().view(1)
    inverse = STEPS / torch.where(largest > 0.0, largest, 1.0)
    return (x.float() * inverse).round_().to(torch.int8).contiguous(), largest


def _gradient_operands_filled(
    grad: Any, q: Any, factor: Any, steps: float, sums: Any
) -> tuple[Any, Any, Any, Any]:
    """An operator gives tensors alone: an empty one where there are no sums."""
    left, scale, right, added = _gradient_operands(grad, q, factor, steps, sums)
    return left, scale, right, grad.new_empty(0) if added is None else added


def _rows_shapes(x: Any, _steps: float, _factor: Any) -> Quantized:
    q = torch.empty(x.shape, dtype=torch.int8, device=x.device)
    return q, torch.empty(x.shape[:1], dtype=torch.float32, device=x.device)


def _two_shapes(x: Any, weight: Any, steps: float, whole: bool) -> tuple[Any, ...]:  # noqa: FBT001
    theirs = _whole_shapes(weight) if whole else _rows_shapes(weight, 1.0, None)
    return (*_rows_shapes(x, steps, None), *theirs)


def _operand_shapes(
    grad: Any, q: Any, factor: Any, steps: float, sums: Any
) -> tuple[Any, Any, Any, Any]:
    turned = torch.empty((q.shape[1], q.shape[0]), dtype=q.dtype, device=q.device)
    added = grad.new_empty(0) if sums is None else grad.new_empty(grad.shape[1:], dtype=sums)
    return (*_rows_shapes(grad, steps, factor), turned, added)


def _whole_shapes(x: Any) -> Quantized:
    q = torch.empty(x.shape, dtype=torch.int8, device=x.device)
    return q, torch.empty(1, dtype=torch.float32, device=x.device)


for _signature, _real, _shapes in (
    ("quantize_rows(Tensor x, float steps, Tensor? factor) -> (Tensor, Tensor)",
     _quantize_rows, _rows_shapes),
    (("quantize_two(Tensor x, Tensor weight, float steps, bool whole)"
      " -> (Tensor, Tensor, Tensor, Tensor)"), _quantize_two, _two_shapes),
    (("gradient_operands(Tensor grad, Tensor q, Tensor? factor, float steps, ScalarType? sums)"
      " -> (Tensor, Tensor, Tensor, Tensor)"), _gradient_operands_filled, _operand_shapes),
    ("quantize_whole(Tensor x) -> (Tensor, Tensor)", _quantize_whole, _whole_shapes),
):  # fmt: skip
    _LIBRARY.define(_signature)
    _name = _signature.partition("(")[0]
    _LIBRARY.impl(_name, _real, "CompositeExplicitAutograd")
    _LIBRARY.impl(_name, _shapes, "Meta")
