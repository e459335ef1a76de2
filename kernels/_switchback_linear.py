"""SwitchBack's forward with a weight that is int8 already: x -> c, by as few launches as there are.

Where the table (_switchback_tiles.py) names one, a kernel that quantizes and multiplies in one
launch; else the quantization and the product one after the other. What a launch needs is worked out
once for a kind of operands: what is left for the calling thread is addresses. Python 3.8 syntax,
standard library only at import; torch and triton when called. Loaded by path.
"""

# ruff: noqa: ANN401, PLR0913, PLR0917 - torch is untyped here, and a launch takes what it takes

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

REMEMBERED = 4096
ALIGNED = 16
ROOM = 128  # the int8 rows of a launch end at a multiple of it; their scales follow
Addresses = Tuple[int, int, int, Optional[int]]
"""Of x, the weight, its scales and the bias."""
Launch = Callable[[Any, float, Any, Any, Any, Addresses], Any]
"""Launches for: x, steps, int8 weight, its scales, bias or None, their addresses; returns c."""


class Kind(NamedTuple):
    """What a launch depends on.

    device: the GPU's index, -1 on the CPU (Triton's interpreter); stride, inner: numbers from a row
    of x to the next, and within one; each: the weight has a scale for every row; aligned: all
    addresses are multiples of 16.
    """

    device: int
    rows: int
    depth: int
    columns: int
    stride: int
    inner: int
    dtype: Any
    bias: Any
    each: bool
    aligned: bool


class _LaterError(Exception):
    """Nothing can be said now: a graph is being captured, or memory ran out."""


def linear(x: Any, steps: float, weight: Any, scale: Any, bias: Optional[Any]) -> Any:
    """Multiply x (M x K, floating) by int8 weight (N x K) transposed, in int8: M x N in x's dtype.

    x's rows are quantized with scales max |row| / steps. scale (float32) has N numbers or one, bias
    N or is None. All but x are contiguous, everything is on one device, no size is 0.
    """
    index = x.get_device()
    if index >= 0 and index != _asks().device():
        with sys.modules["torch"].cuda.device(index):
            return linear(x, steps, weight, scale, bias)
    if index not in _here.devices:
        _enter(index)
    rows, depth = x.shape
    columns = weight.shape[0]
    stride, inner = x.stride()
    at_x, at_weight, at_scale = x.data_ptr(), weight.data_ptr(), scale.data_ptr()
    aligned = at_x | at_weight | at_scale
    plus = at_bias = None
    if bias is not None:
        plus, at_bias = bias.dtype, bias.data_ptr()
        aligned |= at_bias
    each = scale.shape[0] == columns
    kind = (
        index, rows, depth, columns, stride, inner, x.dtype, plus, each, aligned % ALIGNED == 0
    )  # fmt: skip
    launch = _known.get(kind) or _settled(Kind(*kind))
    return launch(x, steps, weight, scale, bias, (at_x, at_weight, at_scale, at_bias))


def why_not(index: int) -> Dict[str, str]:
    """Say why kernels that quantize and multiply in one launch do not serve on a GPU, by name."""
    return {name: text for (name, device), text in _refused.items() if device == index}


def compiled(index: int) -> Tuple[str, ...]:
    """Name the kernels of one launch that have multiplied on a GPU."""
    return tuple(sorted({key[0] for key in _kernels if key[1] == index}))


_known: Dict[Tuple[Any, ...], Launch] = {}
_kernels: Dict[Tuple[Any, ...], Any] = {}
_refused: Dict[Tuple[str, int], str] = {}


def _settled(kind: Kind) -> Launch:
    """Choose the launch for what _known does not know yet; the device is current."""
    try:
        launch = _chosen(kind)
    except _LaterError:
        return _two_steps
    return _remembered(kind, launch or functools.partial(_first, kind))


def _remembered(kind: Kind, launch: Launch) -> Launch:
    if len(_known) >= REMEMBERED:  # shapes are ever new
        _known.clear()
    _known[tuple(kind)] = launch
    return launch


def _chosen(kind: Kind) -> Optional[Launch]:
    """Return a launch of the kernel that the table names for it, where that serves."""
    if kind.device < 0 or not kind.aligned or kind.inner != 1:
        return None
    product = _beside("_switchback_product")
    sm, processors = product.device(kind.device)
    shape = (kind.rows, kind.depth, kind.columns)
    choice = _beside("_switchback_tiles").choose(sm, shape, processors)
    for make in (_few, _chunked, _fused):
        launch = make(kind, choice)
        if launch is not None:
            return launch
    return None


def _few(kind: Kind, choice: Any) -> Optional[Launch]:
    """Return a launch of the kernel for few rows."""
    if choice.few is None:
        return None
    few, product = _beside("_switchback_few"), _beside("_switchback_product")
    out, bias = product.name(kind.dtype), product.name(kind.bias)
    tokens, split = choice.few
    way = few.way(kind.rows, kind.depth, split)
    if way is None or way.tokens != tokens or not few.takes(kind.depth, kind.columns, out, bias):
        return None
    if kind.rows > 1 and kind.stride * few.SIZE % ALIGNED:
        return None
    key = ("few", kind.device, way, out, bias)
    kernel = _proven(key, lambda: few.proven(way, out, bias, kind.device, choice.arch))
    if kernel is None:
        return None
    start, stride, step = kernel.start, kind.stride, int(kind.each)
    index, dtype, (_, stream, empty) = kind.device, kind.dtype, _asks()
    shape = (kind.rows, kind.depth, kind.columns)
    size, strides = (kind.rows, kind.columns), (kind.columns, 1)

    def launch(_x: Any, steps: float, _w: Any, _s: Any, _b: Any, at: Addresses) -> Any:
        c = empty(size, strides, dtype)
        operands = (at[0], at[1], c.data_ptr())
        start(shape, operands, stride, steps, (at[2], step), at[3], stream(index))
        return c

    return launch


def _fused(kind: Kind, choice: Any) -> Optional[Launch]:
    """Return a launch of the kernel for many rows: some of its warps quantize, others multiply."""
    if choice.fused is None:
        return None
    fused, product = _beside("_switchback_fused"), _beside("_switchback_product")
    out, bias = product.name(kind.dtype), product.name(kind.bias)
    way, units = fused.Way(*choice.fused), fused.units(kind.depth)
    if not fused.takes(kind.depth, kind.columns, out, bias) or not fused.panels(way, units):
        return None
    if kind.stride * fused.SIZE % ALIGNED:
        return None
    key = ("fused", kind.device, (way, units), out, bias)
    kernel = _proven(
        key, lambda: fused.proven(way, out, bias, kind.depth, kind.device, choice.arch)
    )
    if kernel is None:
        return None
    return _quantizing(kind, kernel, _room(kind))


def _chunked(kind: Kind, choice: Any) -> Optional[Launch]:
    """Return a launch of the kernel for one wave of tiles: it begins when a part of x is there."""
    if choice.chunks is None:
        return None
    chunks, product = _beside("_switchback_chunks"), _beside("_switchback_product")
    out, bias = product.name(kind.dtype), product.name(kind.bias)
    way, shape = chunks.Way(*choice.chunks), (kind.rows, kind.depth, kind.columns)
    if not chunks.takes(way, shape, product.device(kind.device)[1], out, bias):
        return None
    if kind.stride * chunks.SIZE % ALIGNED:
        return None
    key = ("chunks", kind.device, (way, kind.depth), out, bias)
    kernel = _proven(
        key, lambda: chunks.proven(way, out, bias, kind.depth, kind.device, choice.arch)
    )
    if kernel is None:
        return None
    int8 = _room(kind)[1]
    return _quantizing(kind, kernel, (int8 + 4 * way.chunks * way.padded(kind.rows), int8))


def _quantizing(kind: Kind, kernel: Any, given: Tuple[int, int]) -> Launch:
    """Return a launch of a kernel that makes int8 rows in so many bytes, and more from there on."""
    start, stride, step = kernel.start, kind.stride, int(kind.each)
    index, dtype, (_, stream, empty) = kind.device, kind.dtype, _asks()
    shape = (kind.rows, kind.depth, kind.columns)
    size, strides = (kind.rows, kind.columns), (kind.columns, 1)
    int8, (room, after) = sys.modules["torch"].int8, given

    def launch(_x: Any, steps: float, _w: Any, _s: Any, _b: Any, at: Addresses) -> Any:
        quantized = empty((room,), (1,), int8)
        c = empty(size, strides, dtype)
        at_q = quantized.data_ptr()
        operands, made = (at[0], at[1], c.data_ptr()), (at_q, at_q + after)
        start(shape, operands, made, stride, steps, (at[2], step), at[3], stream(index))
        return c

    return launch


def _room(kind: Kind) -> Tuple[int, int]:
    """Return how many bytes int8 rows and their scales take, and where the scales start."""
    scales = -(-kind.rows * kind.depth // ROOM) * ROOM
    return scales + 4 * kind.rows, scales


def _proven(key: Tuple[Any, ...], make: Callable[[], Any]) -> Any:
    """Return a kernel that proved itself, made once; None where it does not serve on that GPU."""
    name, index = key[:2]
    kernel = _kernels.get(key)
    if kernel is not None or (name, index) in _refused:
        return kernel
    if _beside("_switchback_product").capturing():
        raise _LaterError
    with _settling:
        kernel = _kernels.get(key)  # another thread may have made it meanwhile
        if kernel is not None or (name, index) in _refused:
            return kernel
        try:
            kernel = _kernels[key] = make()
        except sys.modules["torch"].cuda.OutOfMemoryError as error:
            raise _LaterError from error
        except _beside("_switchback_hopper").NotHereError as error:
            _refused[name, index] = str(error)
    return kernel


def _two_steps(x: Any, steps: float, weight: Any, scale: Any, bias: Any, _at: Addresses) -> Any:
    """Quantize, then multiply, as others ask for either."""
    quantized = _beside("_switchback_quantize").quantize_rows(x, steps)
    rescaled_product = _beside("_switchback_product").rescaled_product
    return rescaled_product(quantized, (weight, scale), bias, x.dtype)


def _first(
    kind: Kind, x: Any, steps: float, weight: Any, scale: Any, bias: Any, at: Addresses
) -> Any:
    """Take both steps, and see whether they can be launched by addresses from then on."""
    c = _two_steps(x, steps, weight, scale, bias, at)
    if kind.device < 0 or not _beside("_switchback_product").capturing():
        _remembered(kind, _two_launches(kind, x) or _two_steps)
    return c


def _two_launches(kind: Kind, x: Any) -> Optional[Launch]:
    """Return both steps with all that can be known of them before; None where they must look."""
    if not kind.aligned:
        return None
    product = _beside("_switchback_product")
    same = product.Kind(
        kind.device, kind.rows, kind.depth, kind.columns, kind.dtype, kind.bias, kind.each,
        kind.aligned,
    )  # fmt: skip
    quantize, multiply = _beside("_switchback_quantize").by_address(x), product.by_address(same)
    if quantize is None or multiply is None:
        return None
    index, dtype, (_, stream, empty) = kind.device, kind.dtype, _asks()
    size, strides = (kind.rows, kind.columns), (kind.columns, 1)
    int8, (room, scales) = sys.modules["torch"].int8, _room(kind)

    def launch(_x: Any, steps: float, _w: Any, _s: Any, _b: Any, at: Addresses) -> Any:
        quantized = empty((room,), (1,), int8)
        c = empty(size, strides, dtype)
        at_q, here = quantized.data_ptr(), stream(index)
        quantize(at[0], at_q, at_q + scales, steps, here)
        multiply(at_q, at_q + scales, at[1], at[2], at[3], c.data_ptr(), here)
        return c

    return launch


class _Asks(NamedTuple):
    """What is asked of torch at each call: the shortest ways, those of torch's own compiled code.

    device: the current GPU's index; stream: of a GPU, the current stream; empty: a tensor of a
    size, strides and a dtype on the current GPU, its numbers unset.
    """

    device: Callable[[], int]
    stream: Callable[[int], int]
    empty: Callable[[Tuple[int, ...], Tuple[int, ...], Any], Any]


@functools.lru_cache(maxsize=None)
def _asks() -> _Asks:
    torch = sys.modules["torch"]
    private = torch._C  # noqa: SLF001
    device = getattr(private, "_cuda_getDevice", torch.cuda.current_device)
    guards = getattr(getattr(private, "_dynamo", None), "guards", None)
    empty = getattr(guards, "_empty_strided_cuda", None)

    def plainly(size: Tuple[int, ...], strides: Tuple[int, ...], dtype: Any) -> Any:
        return torch.empty_strided(size, strides, dtype=dtype, device="cuda")

    return _Asks(device, _beside("_switchback_product").raw_stream(), empty or plainly)


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
_settling: Any = _beside("_loaded").settling
