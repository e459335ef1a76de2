"""SwitchBack's quantization: of rows, of gradients with their column sums, of a whole.

A row is read once, held in registers, and written as int8 beside its scale. Method: Wortsman et al.
2023, "Stable and low-precision training for large-scale vision-language models" (arXiv:2304.13013).
Standard library only at import; triton and torch when called. Loaded by path.

In all of them x is about q * largest magnitude / 127, halves are rounded to even, zeros have the
magnitude 0, and a NaN or an infinity makes the magnitude infinite: no product hides it.
"""

# ruff: noqa: ANN401 - torch's tensors and Triton's kernels have no types

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

LARGEST_BLOCK = 16384
"""Widest row held in registers: 16 warps with 32 numbers a thread."""
LEAST_BLOCK = 16
TWO_PASS_BLOCK = 4096
PARTS = 512
"""Programs of a pass that leaves partial maxima, at most; how far few rows are spread."""
SUMMING = (
    (2048, 1056, 4, True),
    (4096, 396, 8, True),
    (8191, 396, 4, False),
    (8192, 264, 8, False),
    (LARGEST_BLOCK, 264, 16, True),
)
"""For rows up to that wide: programs that leave partial sums, their warps, and whether the next row
is loaded ahead. The fastest of 30 for each of 8 shapes on an H100 (2026-11-22): 2.4 to 2.6 TB/s."""
FLAT_BLOCK = 8192
TILE = 128
ADDED = (512, 8)
"""Rows and columns of partial sums that are added up at a time."""
DEQUANTIZED = (4, 1024)


class Cut(NamedTuple):
    """How rows are dealt out: rows of a program, widths of a row's two pieces, warps."""

    rows: int
    wide: int
    rest: int
    warps: int


_launchers: Dict[str, Any] = {}
_torch: Any = None  # bound with the kernels


def launchers() -> Dict[str, Any]:
    """Every kernel, ready to launch, by its name without the underscore. Imports triton."""
    if not _launchers:
        globals()["_torch"] = importlib.import_module("torch")
        _launchers.update(
            _beside("_launched").launchers(_beside("_switchback_quantizers").sources())
        )
    return _launchers


def jitted() -> Dict[str, Any]:
    """Every kernel as triton.JITFunction, by its name without the underscore. Imports triton."""
    return {name: one.kernel for name, one in launchers().items()}


def cut(rows: int, columns: int) -> Cut:
    """Deal out rows of so many columns: 4096 numbers a program, a row at least, spread if few."""
    wide = max(LEAST_BLOCK, 1 << (columns.bit_length() - 1))
    rest = 0 if wide >= columns else max(LEAST_BLOCK, 1 << (columns - wide - 1).bit_length())
    if rest == wide:
        wide, rest = 2 * wide, 0
    share = max(1, min(4096 // (wide + rest), 16, rows // PARTS))
    each = 1 << (share.bit_length() - 1)
    return Cut(each, wide, rest, max(1, min(16, each * wide // 1024)))


def overlaps(index: int) -> bool:
    """Say whether the product that follows on that GPU is launched before this ends (data)."""
    if index not in _overlapping:
        known = False
        if index >= 0:
            properties = _torch.cuda.get_device_properties(index)
            sm = "{}.{}".format(properties.major, properties.minor)
            row = _beside("_switchback_tiles").table().get(sm, {})
            known = bool(row.get("overlap")) and _beside("_switchback_triton").overlaps()
        _overlapping[index] = known
    return _overlapping[index]


_overlapping: Dict[int, bool] = {}


def quantize_rows(x: Any, steps: float = 127.0, factor: Optional[Any] = None) -> Tuple[Any, Any]:
    """Quantize x (M x K, float) row by row: (int8 M x K, float32 scales M).

    scale = max |row| / steps. With a factor (float32 K) its columns are multiplied first.
    """
    launch = launchers()
    x = rows_contiguous(x)
    rows, columns = x.shape
    stride, index = x.stride(0), x.get_device()
    q = _torch.empty(rows, columns, dtype=_torch.int8, device=x.device)
    scale = _torch.empty(rows, dtype=_torch.float32, device=x.device)
    given = x if factor is None else factor  # x stands for a pointer that is not read
    odd = (x.data_ptr() | given.data_ptr()) % 16
    key = (index, rows, columns, stride, x.dtype, factor is None, odd)
    with _current(index):
        if columns > LARGEST_BLOCK:
            launch["quantize_wide_rows"](
                key, (x, q, scale, given, columns, stride, steps),
                lambda: Plan(rows, (factor is not None, TWO_PASS_BLOCK), 8),
            )  # fmt: skip
        else:
            launch["quantize_rows"](
                key, (x, q, scale, given, rows, columns, stride, steps),
                lambda: _rows_plan(rows, columns, index, factor=factor is not None),
            )  # fmt: skip
    return q, scale


def by_address(x: Any) -> Optional[Callable[[int, int, int, float, int], None]]:
    """Return what quantizes the rows of such an x by addresses: x, int8, scales, steps, stream.

    None unless x's rows were quantized before, and may be as they are. All addresses are multiples
    of 16 then, and x's device is current.
    """
    rows, columns = x.shape
    stride, index = x.stride(0), x.get_device()
    wide = columns > LARGEST_BLOCK
    key = (index, rows, columns, stride, x.dtype, True, 0)
    ready = launchers()["quantize_wide_rows" if wide else "quantize_rows"].ready(key)
    if ready is None or rows_contiguous(x) is not x or x.data_ptr() % 16:
        return None
    start, constants = ready
    sizes = (columns, stride) if wide else (rows, columns, stride)

    def launch(at: int, q: int, scale: int, steps: float, stream: int) -> None:
        start(at, q, scale, at, *sizes, steps, *constants, stream=stream)

    return launch


def quantize_two(x: Any, weight: Any, steps: float, *, whole: bool) -> Tuple[Any, Any, Any, Any]:
    """Quantize activations (M x K) and a weight (N x K) at once: (int8, scales M, int8, absmax).

    The activations as by quantize_rows, the weight with a magnitude for each row (N) or for all of
    it (1). Neither may be empty.
    """
    launch = launchers()
    columns = x.shape[1]
    if columns > LARGEST_BLOCK:
        theirs = quantize_whole(weight) if whole else quantize_rows(weight, 1.0)
        return (*quantize_rows(x, steps), *theirs)
    x, weight = rows_contiguous(x), weight.contiguous()
    (rows, _), columns_out = x.shape, weight.shape[0]
    device, index = x.device, x.get_device()
    q = _torch.empty(rows, columns, dtype=_torch.int8, device=device)
    scale = _torch.empty(rows, dtype=_torch.float32, device=device)
    w_q = _torch.empty(columns_out, columns, dtype=_torch.int8, device=device)
    plan, of_weight = two_plan(rows, columns_out, columns, index, whole=whole)
    count = of_weight if whole else columns_out
    absmax = _torch.empty(count, dtype=_torch.float32, device=device)
    odd = (x.data_ptr() | weight.data_ptr()) % 16
    stride = x.stride(0)
    key = (index, rows, columns_out, columns, stride, x.dtype, weight.dtype, whole, odd)
    arguments = (x, q, scale, weight, w_q, absmax, rows, columns_out, columns, stride, columns)
    with _current(index):
        launch["quantize_two"](key, (*arguments, steps, of_weight), lambda: plan)
    if whole:
        absmax = _quantized_flat(weight, w_q, absmax)
    return q, scale, w_q, absmax


def _rows_plan(rows: int, columns: int, index: int, *, factor: bool) -> Any:
    each, wide, rest, warps = cut(rows, columns)
    return Plan(-(-rows // each), (factor, each, wide, rest, overlaps(index)), warps)


@functools.lru_cache(maxsize=4096)
def two_plan(
    rows: int, columns_out: int, columns: int, index: int, *, whole: bool
) -> Tuple[Any, int]:
    """Plan both at once: the launch, and how many of its programs are the weight's."""
    each, wide, rest, warps = cut(rows + columns_out, columns)
    of_weight = -(-columns_out // each)
    of_weight = min(PARTS, of_weight) if whole else of_weight
    early = overlaps(index) and not whole  # a whole weight is quantized by one more kernel
    constants = (whole, each, wide, rest, early)
    return Plan(of_weight + -(-rows // each), constants, warps), of_weight


def gradient_operands(
    grad: Any, q: Any, factor: Optional[Any], steps: float, sums: Optional[Any]
) -> Tuple[Any, Any, Any, Any]:
    """Prepare an input gradient: grad (M x N) quantized, q (int8 N x K) transposed.

    (int8 M x N, float32 scales M, int8 K x N, column sums of grad without the factor: N of the
    dtype ``sums``, None without one). The sums are taken in float32, in an order that is always
    the same. Neither grad nor q may be empty.
    """
    launch = launchers()
    rows, columns = grad.shape
    if sums is None or columns > LARGEST_BLOCK:
        added = None if sums is None else grad.sum(0, dtype=_torch.float32).to(sums)
        return (*quantize_rows(grad, steps, factor), transposed(q), added)
    grad = rows_contiguous(grad)
    device, index, stride = grad.device, grad.get_device(), grad.stride(0)
    left = _torch.empty(rows, columns, dtype=_torch.int8, device=device)
    scale = _torch.empty(rows, dtype=_torch.float32, device=device)
    plan = sum_plan(rows, columns, factor=factor is not None)
    parts = _torch.empty(plan.programs, columns, dtype=_torch.float32, device=device)
    given = grad if factor is None else factor
    odd = (grad.data_ptr() | given.data_ptr()) % 16
    key = (index, rows, columns, stride, grad.dtype, factor is None, odd)
    with _current(index):
        launch["quantize_and_sum"](
            key, (grad, left, scale, given, parts, rows, columns, stride, steps), lambda: plan
        )
    right, added = _transposed_and_added(q, parts, sums)
    return left, scale, right, added


@functools.lru_cache(maxsize=4096)
def sum_plan(rows: int, columns: int, *, factor: bool) -> Any:
    _, wide, rest, _ = cut(rows, columns)
    programs, warps, ahead = next(one[1:] for one in SUMMING if wide + bool(rest) <= one[0])
    return Plan(min(programs, rows), (factor, 1, wide, rest, ahead), warps)


def quantize_whole(x: Any) -> Tuple[Any, Any]:
    """Quantize x (N x K, float) by its largest magnitude: (int8 N x K, float32 magnitude 1)."""
    launch = launchers()
    x = x.contiguous()
    n, index = x.numel(), x.get_device()
    programs = min(PARTS, -(-n // FLAT_BLOCK))
    q = _torch.empty(x.shape, dtype=_torch.int8, device=x.device)
    parts = _torch.empty(programs, dtype=_torch.float32, device=x.device)
    with _current(index):
        launch["largest_parts"](
            (index, n, x.dtype, x.data_ptr() % 16), (x, parts, n),
            lambda: Plan(programs, (FLAT_BLOCK,), 8),
        )  # fmt: skip
    return q, _quantized_flat(x, q, parts)


def _quantized_flat(x: Any, q: Any, parts: Any) -> Any:
    """Write x as int8 to q by the largest of parts, and give that back."""
    n, count, index = x.numel(), parts.shape[0], x.get_device()
    absmax = _torch.empty(1, dtype=_torch.float32, device=x.device)
    with _current(index):
        launchers()["quantize_flat"](
            (index, n, count, x.dtype, x.data_ptr() % 16), (x, q, parts, absmax, n, count),
            lambda: Plan(-(-n // FLAT_BLOCK), (PARTS, FLAT_BLOCK, overlaps(index)), 8),
        )  # fmt: skip
    return absmax


def transposed(x: Any) -> Any:
    """Copy int8 x (N x K, contiguous) to K x N, contiguous."""
    launchers()
    return _transposed_and_added(x, None, None)[0]


def _transposed_and_added(x: Any, parts: Any, dtype: Any) -> Tuple[Any, Any]:
    rows, columns = x.shape
    index = x.get_device()
    y = _torch.empty(columns, rows, dtype=_torch.int8, device=x.device)
    count, wide, sums = 0, 0, None
    if parts is not None:
        count, wide = parts.shape
        sums = _torch.empty(wide, dtype=dtype, device=x.device)
    programs = -(-rows // TILE) * -(-columns // TILE) + -(-wide // ADDED[1])
    with _current(index):
        launchers()["transpose_and_add"](
            (index, rows, columns, count, wide, dtype, x.data_ptr() % 16),
            (x, y, x if sums is None else parts, x if sums is None else sums,
             rows, columns, count, wide),
            lambda: Plan(programs, (TILE, *ADDED, overlaps(index)), 8),
        )  # fmt: skip
    return y, sums


def dequantized(q: Any, scale: Any, dtype: Any, times: float = 1.0) -> Any:
    """Multiply int8 q (M x K) by its rows' float32 scales (M) times a number: dtype M x K."""
    launch = launchers()
    rows, columns = q.shape
    index = q.get_device()
    x = _torch.empty(rows, columns, dtype=dtype, device=q.device)
    each, wide = DEQUANTIZED
    across = -(-columns // wide)
    with _current(index):
        launch["dequantize_rows"](
            (index, rows, columns, dtype, q.data_ptr() % 16),
            (q, scale, x, rows, columns, times),
            lambda: Plan(across * -(-rows // each), DEQUANTIZED, 4),
        )  # fmt: skip
    return x


def rows_contiguous(x: Any) -> Any:
    """Return x with numbers side by side in each row, and rows near enough for 32-bit steps."""
    near = x.stride(1) == 1 and -(2**26) < x.stride(0) < 2**26
    return x if near else x.contiguous()


def _current(index: int) -> Any:
    """Make the GPU of that index current; where it is, or on the CPU (interpreter), do nothing."""
    if index < 0 or index == _torch.cuda.current_device():
        return _NOTHING
    return _torch.cuda.device(index)


_NOTHING = contextlib.nullcontext()


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


Plan: Any = _beside("_launched").Plan
