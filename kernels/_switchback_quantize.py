"""SwitchBack's quantization in Triton: of rows, of gradients with their column sums, of a whole.

A row is read once, held in registers, and written as int8 beside its scale. Method: Wortsman et al.
2023, "Stable and low-precision training for large-scale vision-language models" (arXiv:2304.13013).
Standard library only at import; triton and torch when called. Loaded by path.

In all of them x is about q * largest magnitude / 127, halves are rounded to even, zeros have the
magnitude 0, and a NaN or an infinity makes the magnitude infinite: no product hides it.
"""

# ruff: noqa: ANN001, ANN202, ANN401, F821, N803, PLR0913, PLR0917 - Triton source has
# no types, its tl is bound later, and a kernel takes what it takes
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import contextlib
import importlib
from typing import Any, Dict, NamedTuple, Optional, Tuple

LARGEST_BLOCK = 16384
"""Widest row held in registers: 16 warps with 32 numbers a thread."""
TWO_PASS_BLOCK = 4096
PARTS = 512
"""Programs of a pass that leaves partial results, at most: about four for each Hopper SM."""
FLAT_BLOCK = 8192
TRANSPOSED_TILE = 64
tl: Any  # triton.language, bound before a kernel is compiled


class Cut(NamedTuple):
    """How rows are dealt out: rows of a program, padded width, warps."""

    rows: int
    block: int
    warps: int


# The kernels. Adding 1.5 * 2**23 leaves no room for a fraction: the sum is rounded half to even and
# its low byte is the int8. Unlike llrint this needs no libdevice, whose place differs by release.


def _quantize_rows(
    x, q, scale, factor, M, K, stride_x, steps,
    FACTOR: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0).to(tl.int64) * ROWS
    rows = tl.arange(0, ROWS)
    at = tl.arange(0, BLOCK)
    inside = (rows < M - first)[:, None] & (at < K)[None, :]
    value = tl.load(
        x + first * stride_x + (rows[:, None] * stride_x + at[None, :]), mask=inside, other=0.0
    ).to(tl.float32)
    if FACTOR:
        value *= tl.load(factor + at, mask=at < K, other=0.0)[None, :]
    magnitude = tl.abs(value)
    # A NaN loses against any number: as infinity it makes the whole row's result not finite.
    magnitude = tl.where(magnitude < float("inf"), magnitude, float("inf"))
    absmax = tl.max(magnitude, axis=1)
    inverse = 127.0 / tl.maximum(absmax, 1e-36)  # a row of zeros stays one
    rounded = value * inverse[:, None] + 12582912.0
    tl.store(
        q + first * K + (rows[:, None] * K + at[None, :]),
        rounded.to(tl.int32, bitcast=True).to(tl.int8), mask=inside,
    )  # fmt: skip
    tl.store(scale + first + rows, absmax / steps, mask=rows < M - first)


def _quantize_wide_rows(
    x, q, scale, factor, K, stride_x, steps, FACTOR: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    largest = tl.zeros([BLOCK], dtype=tl.float32)
    for start in range(0, K, BLOCK):
        inside = start + at < K
        value = tl.load(x + row * stride_x + start + at, mask=inside, other=0.0).to(tl.float32)
        if FACTOR:
            value *= tl.load(factor + start + at, mask=inside, other=0.0)
        magnitude = tl.abs(value)
        largest = tl.maximum(largest, tl.where(magnitude < float("inf"), magnitude, float("inf")))
    absmax = tl.max(largest, axis=0)
    inverse = 127.0 / tl.maximum(absmax, 1e-36)
    for start in range(0, K, BLOCK):
        inside = start + at < K
        value = tl.load(x + row * stride_x + start + at, mask=inside, other=0.0).to(tl.float32)
        if FACTOR:
            value *= tl.load(factor + start + at, mask=inside, other=0.0)
        rounded = value * inverse + 12582912.0
        byte = rounded.to(tl.int32, bitcast=True).to(tl.int8)
        tl.store(q + row * K + start + at, byte, mask=inside)
    tl.store(scale + row, absmax / steps)


def _quantize_and_sum(
    x, q, scale, factor, sums, M, K, stride_x, steps,
    FACTOR: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    part = tl.program_id(0).to(tl.int64)
    rows = tl.arange(0, ROWS)
    at = tl.arange(0, BLOCK)
    in_row = at < K
    total = tl.zeros([BLOCK], dtype=tl.float32)
    if FACTOR:
        multiplier = tl.load(factor + at, mask=in_row, other=0.0)
    for first in range(part * ROWS, M, tl.num_programs(0) * ROWS):
        inside = (rows < M - first)[:, None] & in_row[None, :]
        value = tl.load(
            x + first * stride_x + (rows[:, None] * stride_x + at[None, :]), mask=inside, other=0.0
        ).to(tl.float32)
        total += tl.sum(value, axis=0)
        if FACTOR:
            value *= multiplier[None, :]
        magnitude = tl.abs(value)
        magnitude = tl.where(magnitude < float("inf"), magnitude, float("inf"))
        absmax = tl.max(magnitude, axis=1)
        inverse = 127.0 / tl.maximum(absmax, 1e-36)
        rounded = value * inverse[:, None] + 12582912.0
        tl.store(
            q + first * K + (rows[:, None] * K + at[None, :]),
            rounded.to(tl.int32, bitcast=True).to(tl.int8), mask=inside,
        )  # fmt: skip
        tl.store(scale + first + rows, absmax / steps, mask=rows < M - first)
    tl.store(sums + part * K + at, total, mask=in_row)


def _add_parts(parts, y, count, K, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    rows = tl.arange(0, ROWS)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros([ROWS, BLOCK], dtype=tl.float32)
    for first in range(0, count, ROWS):
        inside = (first + rows < count)[:, None] & (at < K)[None, :]
        total += tl.load(parts + (first + rows)[:, None] * K + at[None, :], mask=inside, other=0.0)
    tl.store(y + at, tl.sum(total, axis=0).to(y.dtype.element_ty), mask=at < K)


def _largest_parts(x, parts, n, BLOCK: tl.constexpr):
    part = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    largest = tl.zeros([BLOCK], dtype=tl.float32)
    for block in range(part, tl.cdiv(n, BLOCK), tl.num_programs(0)):
        start = block * BLOCK
        value = tl.load(x + start + at, mask=at < n - start, other=0.0)
        magnitude = tl.abs(value.to(tl.float32))
        largest = tl.maximum(largest, tl.where(magnitude < float("inf"), magnitude, float("inf")))
    tl.store(parts + part, tl.max(largest, axis=0))


def _quantize_flat(x, q, parts, absmax, n, count, PARTS: tl.constexpr, BLOCK: tl.constexpr):
    part = tl.arange(0, PARTS)
    largest = tl.max(tl.load(parts + part, mask=part < count, other=0.0), axis=0)
    inverse = 127.0 / tl.maximum(largest, 1e-36)
    start = tl.program_id(0).to(tl.int64) * BLOCK
    at = tl.arange(0, BLOCK)
    value = tl.load(x + start + at, mask=at < n - start, other=0.0).to(tl.float32)
    rounded = value * inverse + 12582912.0
    byte = rounded.to(tl.int32, bitcast=True).to(tl.int8)
    tl.store(q + start + at, byte, mask=at < n - start)
    if tl.program_id(0) == 0:
        tl.store(absmax, largest)


def _transpose(x, y, N, K, TILE: tl.constexpr):
    across = tl.cdiv(K, TILE)
    n = (tl.program_id(0) // across) * TILE + tl.arange(0, TILE)
    k = (tl.program_id(0) % across) * TILE + tl.arange(0, TILE)
    read = (n < N)[:, None] & (k < K)[None, :]
    tile = tl.load(x + n.to(tl.int64)[:, None] * K + k[None, :], mask=read, other=0)
    written = (k < K)[:, None] & (n < N)[None, :]
    tl.store(y + k.to(tl.int64)[:, None] * N + n[None, :], tl.trans(tile), mask=written)


def _dequantize_rows(q, scale, x, M, K, times, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    first = tl.program_id(0).to(tl.int64) * ROWS
    rows = tl.arange(0, ROWS)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = (rows < M - first)[:, None] & (at < K)[None, :]
    offset = first * K + (rows[:, None] * K + at[None, :])
    byte = tl.load(q + offset, mask=inside, other=0)
    factor = tl.load(scale + first + rows, mask=rows < M - first, other=0.0)
    value = byte.to(tl.float32) * (factor * times)[:, None]
    tl.store(x + offset, value.to(x.dtype.element_ty), mask=inside)


_jitted: Dict[str, Any] = {}
_SOURCES = (
    _quantize_rows, _quantize_wide_rows, _quantize_and_sum, _add_parts, _largest_parts,
    _quantize_flat, _transpose, _dequantize_rows,
)  # fmt: skip


def jitted() -> Dict[str, Any]:
    """Every kernel as triton.JITFunction, by its name without the underscore. Imports triton."""
    if not _jitted:
        triton = importlib.import_module("triton")
        globals()["tl"] = importlib.import_module("triton.language")
        globals()["_torch"] = importlib.import_module("torch")
        _jitted.update((one.__name__[1:], triton.jit(one)) for one in _SOURCES)
    return _jitted


_torch: Any


def cut(rows: int, columns: int) -> Cut:
    """Deal out rows of so many columns: 4096 numbers a program, a row at least, spread if few."""
    block = max(16, 1 << (columns - 1).bit_length())
    share = max(1, min(4096 // block, 16, rows // PARTS))
    each = 1 << (share.bit_length() - 1)
    return Cut(each, block, max(1, min(16, each * block // 1024)))


def quantize_rows(x: Any, steps: float = 127.0, factor: Optional[Any] = None) -> Tuple[Any, Any]:
    """Quantize x (M x K, float) row by row: (int8 M x K, float32 scales M).

    scale = max |row| / steps. With a factor (float32 K) its columns are multiplied first.
    """
    kernels = jitted()
    rows, columns = x.shape
    x = _rows_contiguous(x)
    q = _torch.empty((rows, columns), dtype=_torch.int8, device=x.device)
    scale = _torch.empty((rows,), dtype=_torch.float32, device=x.device)
    given = x if factor is None else factor  # x stands for a pointer that is not read
    with _current(x):
        if columns > LARGEST_BLOCK:
            kernels["quantize_wide_rows"][(rows,)](
                x, q, scale, given, columns, x.stride(0), steps,
                FACTOR=factor is not None, BLOCK=TWO_PASS_BLOCK, num_warps=8,
            )  # fmt: skip
            return q, scale
        plan = cut(rows, columns)
        kernels["quantize_rows"][(-(-rows // plan.rows),)](
            x, q, scale, given, rows, columns, x.stride(0), steps,
            FACTOR=factor is not None, ROWS=plan.rows, BLOCK=plan.block, num_warps=plan.warps,
        )  # fmt: skip
    return q, scale


def quantize_and_sum(
    x: Any, dtype: Any, steps: float = 127.0, factor: Optional[Any] = None
) -> Tuple[Any, Any, Any]:
    """Do what quantize_rows does and sum x's columns: (int8 M x K, scales M, sums K in dtype).

    The sums are of x without the factor, taken in float32 in an order that is always the same.
    """
    kernels = jitted()
    rows, columns = x.shape
    if columns > LARGEST_BLOCK:
        return (*quantize_rows(x, steps, factor), x.sum(0, dtype=_torch.float32).to(dtype))
    x = _rows_contiguous(x)
    plan = cut(rows, columns)
    programs = min(PARTS, -(-rows // plan.rows))
    q = _torch.empty((rows, columns), dtype=_torch.int8, device=x.device)
    scale = _torch.empty((rows,), dtype=_torch.float32, device=x.device)
    parts = _torch.empty((programs, columns), dtype=_torch.float32, device=x.device)
    sums = _torch.empty((columns,), dtype=dtype, device=x.device)
    with _current(x):
        kernels["quantize_and_sum"][(programs,)](
            x, q, scale, x if factor is None else factor, parts, rows, columns, x.stride(0), steps,
            FACTOR=factor is not None, ROWS=plan.rows, BLOCK=plan.block, num_warps=plan.warps,
        )  # fmt: skip
        kernels["add_parts"][(-(-columns // 32),)](
            parts, sums, programs, columns, ROWS=64, BLOCK=32, num_warps=4
        )
    return q, scale, sums


def quantize_whole(x: Any) -> Tuple[Any, Any]:
    """Quantize x (N x K, float) by its largest magnitude: (int8 N x K, float32 magnitude 1)."""
    kernels = jitted()
    x = x.contiguous()
    n = x.numel()
    blocks = -(-n // FLAT_BLOCK)
    programs = min(PARTS, blocks)
    q = _torch.empty(x.shape, dtype=_torch.int8, device=x.device)
    parts = _torch.empty((programs,), dtype=_torch.float32, device=x.device)
    absmax = _torch.empty((1,), dtype=_torch.float32, device=x.device)
    with _current(x):
        kernels["largest_parts"][(programs,)](x, parts, n, BLOCK=FLAT_BLOCK, num_warps=8)
        kernels["quantize_flat"][(blocks,)](
            x, q, parts, absmax, n, programs, PARTS=PARTS, BLOCK=FLAT_BLOCK, num_warps=8
        )
    return q, absmax


def transposed(x: Any) -> Any:
    """Copy int8 x (N x K, contiguous) to K x N, contiguous."""
    kernels = jitted()
    rows, columns = x.shape
    y = _torch.empty((columns, rows), dtype=_torch.int8, device=x.device)
    tile = TRANSPOSED_TILE
    with _current(x):
        kernels["transpose"][(-(-columns // tile) * -(-rows // tile),)](
            x, y, rows, columns, TILE=tile, num_warps=4
        )
    return y


def dequantized(q: Any, scale: Any, dtype: Any, times: float = 1.0) -> Any:
    """Multiply int8 q (M x K) by its rows' float32 scales (M) times a number: dtype M x K."""
    kernels = jitted()
    rows, columns = q.shape
    x = _torch.empty((rows, columns), dtype=dtype, device=q.device)
    with _current(q):
        kernels["dequantize_rows"][(-(-rows // 4), -(-columns // 1024))](
            q, scale, x, rows, columns, times, ROWS=4, BLOCK=1024, num_warps=4
        )
    return x


def _rows_contiguous(x: Any) -> Any:
    """Return x with numbers side by side in each row, and rows near enough for 32-bit steps."""
    near = x.stride(1) == 1 and -(2**26) < x.stride(0) < 2**26
    return x if near else x.contiguous()


def _current(tensor: Any) -> Any:
    """Make the tensor's GPU current; where it is, or on the CPU (interpreter), do nothing."""
    if not tensor.is_cuda or tensor.get_device() == _torch.cuda.current_device():
        return _NOTHING
    return _torch.cuda.device(tensor.device)


_NOTHING = contextlib.nullcontext()
