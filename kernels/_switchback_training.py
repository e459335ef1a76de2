"""SwitchBack's steps of training: x -> y with a weight quantized on the way, and back to x.

The first call of a kind takes one step after the other (_switchback_quantize.py,
_switchback_product.py); from the second on all that does not change is known, and what is left for
the calling thread is to ask for room and to launch by addresses. What only the launches need lies
in one piece of memory. Python 3.8 syntax, standard library only at import; torch and triton when
called. Loaded by path.
"""

# ruff: noqa: ANN401, FBT001, PLR0913, PLR0917 - torch is untyped here; a step takes what it takes

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Literal, NamedTuple, Optional, Tuple, Union

REMEMBERED = 4096
ALIGNED = 16
ROOM = 128  # pieces of memory begin at multiples of it
Size = Tuple[int, ...]
Forward = Callable[[float, int, int, Optional[int]], Tuple[Any, ...]]
"""Launches for: steps, the addresses of x, weight and bias; returns what ``forward`` does."""
Backward = Callable[[float, int, int, int], Tuple[Any, Any]]
"""Launches for: steps, the addresses of grad, q and absmax; returns as ``input_gradient`` does."""


class ForwardKind(NamedTuple):
    """What the launches of a forward pass depend on.

    device: the GPU's index; size: of x; columns: rows of the weight; dtypes of x, weight and bias.
    """

    device: int
    size: Size
    columns: int
    dtype: Any
    weight: Any
    bias: Any
    whole: bool
    kept: bool


class BackwardKind(NamedTuple):
    """What the launches of an input gradient depend on.

    size: of grad; depth: columns of the weight; scales: how many come with it.
    """

    device: int
    size: Size
    depth: int
    scales: int
    dtype: Any
    sums: Any


def forward(
    x: Any, steps: float, weight: Any, bias: Optional[Any], whole: bool, kept: bool
) -> Tuple[Any, ...]:
    """Multiply x (..., K) by weight (N x K) transposed in int8: (y, q, absmax, x_q, x_scale).

    y (..., N), with the bias (N or None) added, has x's dtype. q (int8 N x K) and absmax (float32,
    N magnitudes of rows, or 1 if whole) are the quantized weight; x_q (int8, x's rows) and x_scale
    (float32, max |row| / steps) are None unless kept. All is on one device, no size is 0.
    """
    index = x.get_device()
    if index >= 0 and index != _asks().device():
        with sys.modules["torch"].cuda.device(index):
            return forward(x, steps, weight, bias, whole, kept)
    at_x, at_weight = x.data_ptr(), weight.data_ptr()
    together, plain = at_x | at_weight, x.is_contiguous() and weight.is_contiguous()
    plus = at_bias = None
    if bias is not None:
        plus, at_bias = bias.dtype, bias.data_ptr()
        together, plain = together | at_bias, plain and bias.is_contiguous()
    if together % ALIGNED or not plain:
        return _forward(x, steps, weight, bias, whole, kept)
    if index not in _here.devices:
        _enter(index)
    kind = (index, x.shape, weight.shape[0], x.dtype, weight.dtype, plus, whole, kept)
    launch = _forwards.get(kind)
    if launch:
        return launch(steps, at_x, at_weight, at_bias)
    made = _forward(x, steps, weight, bias, whole, kept)
    if launch is None and _rememberable(_forwards, index):
        again = _forward_launch(ForwardKind(*kind), x, weight)
        equal = again and _equal(
            ("forward", index, *kind[3:]), made, lambda: again(steps, at_x, at_weight, at_bias)
        )
        _forwards[kind] = again if again and equal else False
    return made


def input_gradient(
    grad: Any, steps: float, q: Any, absmax: Any, sums: Optional[Any]
) -> Tuple[Any, Any]:
    """Multiply grad (..., N) by int8 q (N x K) in int8: (grad's dtype (..., K), grad's sums).

    absmax (float32, N or 1) are q's magnitudes; grad is quantized by row, with max |row| / steps.
    sums: the dtype of the column sums (N), None for none. All is on one device, no size is 0.
    """
    index = grad.get_device()
    if index >= 0 and index != _asks().device():
        with sys.modules["torch"].cuda.device(index):
            return input_gradient(grad, steps, q, absmax, sums)
    at_grad, at_q, at_absmax = grad.data_ptr(), q.data_ptr(), absmax.data_ptr()
    plain = grad.is_contiguous() and q.is_contiguous() and absmax.is_contiguous()
    if (at_grad | at_q | at_absmax) % ALIGNED or not plain:
        return _input_gradient(grad, steps, q, absmax, sums)
    if index not in _here.devices:
        _enter(index)
    kind = (index, grad.shape, q.shape[1], absmax.shape[0], grad.dtype, sums)
    launch = _backwards.get(kind)
    if launch:
        return launch(steps, at_grad, at_q, at_absmax)
    made = _input_gradient(grad, steps, q, absmax, sums)
    if launch is None and _rememberable(_backwards, index):
        again = _backward_launch(BackwardKind(*kind), grad)
        sort = ("input_gradient", index, absmax.shape[0] > 1, *kind[4:])
        equal = again and _equal(sort, made, lambda: again(steps, at_grad, at_q, at_absmax))
        _backwards[kind] = again if again and equal else False
    return made


_forwards: "Dict[Tuple[Any, ...], Union[Forward, Literal[False]]]" = {}
_backwards: "Dict[Tuple[Any, ...], Union[Backward, Literal[False]]]" = {}
"""By kind: its launches, or False where each step must look at tensors."""
_ones: Dict[int, Any] = {}


_proven: Dict[Tuple[Any, ...], bool] = {}
"""By what a launch depends on but its sizes: whether it gave what the steps give."""


def _rememberable(known: Dict[Any, Any], index: int) -> bool:
    """Make room to note how a kind is launched again: not in a graph, nor interpreted."""
    if index < 0 or _beside("_switchback_product").capturing():
        return False
    if len(known) >= REMEMBERED:  # shapes are ever new
        known.clear()
    return True


def _equal(
    sort: Tuple[Any, ...], made: Tuple[Any, ...], again: Callable[[], Tuple[Any, ...]]
) -> bool:
    """Say whether a launch by addresses gives the same, bit for bit. Tried once for each sort.

    Nobody would see a gradient that is wrong. Waits for the GPU. False too where there is no
    memory to try it: then it is tried with the next kind.
    """
    if sort not in _proven:
        try:
            _proven[sort] = all(map(_same, made, again()))
        except RuntimeError:  # torch's error for memory that ran out
            return False
    return _proven[sort]


def _same(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    torch = sys.modules["torch"]
    return bool(torch.equal(one.view(torch.uint8), other.view(torch.uint8)))  # NaN is like itself


# One step after the other


def _forward(
    x: Any, steps: float, weight: Any, bias: Optional[Any], whole: bool, kept: bool
) -> Tuple[Any, ...]:
    quantize_two = _beside("_switchback_quantize").quantize_two
    x_q, x_scale, *matrix = quantize_two(_rows(x), weight, steps, whole=whole)
    multiply = _beside("_switchback_product").rescaled_product
    bias = None if bias is None else bias.contiguous()
    y = multiply((x_q, x_scale), tuple(matrix), bias, x.dtype).view(*x.shape[:-1], -1)
    return (y, *matrix, x_q, x_scale) if kept else (y, *matrix, None, None)


def _input_gradient(
    grad: Any, steps: float, q: Any, absmax: Any, sums: Optional[Any]
) -> Tuple[Any, Any]:
    q, absmax = q.contiguous(), absmax.contiguous()
    factor, right = (None, absmax) if absmax.shape[0] == 1 else (absmax, _one(absmax))
    operands = _beside("_switchback_quantize").gradient_operands
    left, scale, turned, added = operands(_rows(grad), q, factor, steps, sums)
    multiply = _beside("_switchback_product").rescaled_product
    made = multiply((left, scale), (turned, right), None, grad.dtype)
    return made.view(*grad.shape[:-1], -1), added


def _rows(x: Any) -> Any:
    return x if x.dim() == 2 else x.flatten(0, -2)  # noqa: PLR2004 - views take their time


def _one(beside: Any) -> Any:
    """The number 1 on that tensor's device, made once where nothing records what is done."""
    index = beside.get_device()
    one = _ones.get(index)
    if one is None:
        one = beside.new_ones(1)
        if index >= 0 and not _beside("_switchback_product").capturing():
            _ones[index] = one
    return one


# By addresses


class _Room:
    """Pieces of one piece of memory, in bytes."""

    def __init__(self) -> None:
        self.size = 0

    def take(self, size: int) -> int:
        """Return where the next so many bytes begin."""
        start = self.size
        self.size = start + -(-size // ROOM) * ROOM
        return start


def _forward_launch(kind: ForwardKind, x: Any, weight: Any) -> Optional[Forward]:
    """Return the launches of a forward pass like the last one; None where they need tensors."""
    depth, columns, kept = kind.size[-1], kind.columns, kind.kept
    rows, count = x.numel() // depth, 1 if kind.whole else columns
    two = _beside("_switchback_addressed").quantize_two(_rows(x), weight, whole=kind.whole)
    multiply = _multiply(kind, (rows, depth, columns), count, kind.bias)
    if two is None or multiply is None:
        return None
    quantize, parts = two
    int8, float32 = sys.modules["torch"].int8, sys.modules["torch"].float32
    index, dtype, (_, stream, empty) = kind.device, kind.dtype, _asks()
    y_size, y_strides = _laid_out((*kind.size[:-1], columns))
    room = _Room()
    room.take(0 if kept else rows * depth)
    far_scale, far_parts = room.take(0 if kept else 4 * rows), room.take(4 * parts)
    needed = room.size

    def launch(steps: float, at_x: int, at_weight: int, at_bias: Optional[int]) -> Tuple[Any, ...]:
        q = empty((columns, depth), (depth, 1), int8)
        absmax = empty((count,), (1,), float32)
        y = empty(y_size, y_strides, dtype)
        own = empty((needed,), (1,), int8)
        at = own.data_ptr()
        x_q = x_scale = None
        at_x_q, at_scale = at, at + far_scale
        if kept:
            x_q, x_scale = empty((rows, depth), (depth, 1), int8), empty((rows,), (1,), float32)
            at_x_q, at_scale = x_q.data_ptr(), x_scale.data_ptr()
        at_q, at_absmax, here = q.data_ptr(), absmax.data_ptr(), stream(index)
        operands = (at_x, at_x_q, at_scale, at_weight, at_q, at_absmax, at + far_parts)
        quantize(operands, steps, here)
        multiply(at_x_q, at_scale, at_q, at_absmax, at_bias, y.data_ptr(), here)
        return y, q, absmax, x_q, x_scale

    return launch


def _backward_launch(kind: BackwardKind, grad: Any) -> Optional[Backward]:
    """Return the launches of an input gradient like the last one; None where they need tensors."""
    columns, depth, by_row = kind.size[-1], kind.depth, kind.scales > 1
    rows, index, dtype, sums = grad.numel() // columns, kind.device, kind.dtype, kind.sums
    operands = _beside("_switchback_addressed").gradient_operands(
        _rows(grad), depth, factor=by_row, sums=sums
    )
    multiply = _multiply(kind, (rows, columns, depth), 1, None)
    if operands is None or multiply is None:
        return None
    prepare, parts = operands
    int8, (_, stream, empty) = sys.modules["torch"].int8, _asks()
    size, strides = _laid_out((*kind.size[:-1], depth))
    room = _Room()
    room.take(rows * columns)
    far_scale, far_turned = room.take(4 * rows), room.take(depth * columns)
    far_parts = room.take(4 * parts)
    needed, one = room.size, _ones[index].data_ptr() if by_row else 0

    def launch(steps: float, at_grad: int, at_q: int, at_absmax: int) -> Tuple[Any, Any]:
        added = None if sums is None else empty((columns,), (1,), sums)
        made = empty(size, strides, dtype)
        own = empty((needed,), (1,), int8)
        at, here = own.data_ptr(), stream(index)
        at_scale, turned = at + far_scale, at + far_turned
        at_added = at if added is None else added.data_ptr()
        pieces = (at_grad, at, at_scale, at_absmax, at + far_parts, at_q, turned, at_added)
        prepare(pieces, steps, here)
        multiply(at, at_scale, turned, one or at_absmax, None, made.data_ptr(), here)
        return made, added

    return launch


def _multiply(kind: Any, shape: Size, scales: int, bias: Any) -> Any:
    """Return what launches the product (rows, depth, columns) by addresses, or None."""
    product = _beside("_switchback_product")
    rows, depth, columns = shape
    each = scales == columns
    same = (kind.device, rows, depth, columns, kind.dtype, bias, each)
    return product.by_address(product.Kind(*same, aligned=True))


def _laid_out(size: Size) -> Tuple[Size, Size]:
    """A size, and the strides of a contiguous tensor of it."""
    strides = [1]
    for one in reversed(size[1:]):
        strides.insert(0, strides[0] * one)
    return size, tuple(strides)


def _beside(name: str) -> Any:
    """Load the kernel file of that name in this folder, once."""
    module = sys.modules.get("qdoctor_kernel_" + name)
    if module is None:
        path = Path(__file__).resolve().with_name(name + ".py")
        spec = importlib.util.spec_from_file_location("qdoctor_kernel_" + name, str(path))
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        spec.loader.exec_module(module)  # type: ignore[union-attr]
        # Not before: another thread would find it half made. If both make it, the first is it.
        module = sys.modules.setdefault(module.__name__, module)
    return module


_here: Any = _beside("_loaded").here
_enter: Any = _beside("_loaded").enter
_asks: Any = _beside("_switchback_linear")._asks  # noqa: SLF001 - torch's shortest ways
