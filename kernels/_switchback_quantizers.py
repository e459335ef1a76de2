"""SwitchBack's quantization in Triton, the kernels; _switchback_quantize.py launches them.

Method: Wortsman et al. 2023, "Stable and low-precision training for large-scale vision-language
models" (arXiv:2304.13013). In all of them x is about q * largest magnitude / 127, halves are
rounded to even, zeros have the magnitude 0, and a NaN or an infinity makes the magnitude infinite.
A row is held in registers in two pieces, A and then B numbers wide (B may be 0): most widths are
no power of two, and what is masked out costs as much as what is not.
Standard library only at import; triton when called. Loaded by path.
"""

# ruff: noqa: ANN001, ANN202, C901, F821, N803, PLR0912, PLR0913, PLR0917 - Triton source has no
# types, its tl is bound later, and a kernel takes what it takes and branches on constants
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import importlib
from typing import Any, Callable, Tuple

tl: Any  # triton.language, bound before a kernel is compiled


def sources() -> Tuple[Callable[..., None], ...]:
    """Every kernel, to be jitted. Imports triton."""
    jit = importlib.import_module("triton").jit
    globals()["tl"] = importlib.import_module("triton.language")
    for one in _PIECES:
        globals()[one.__name__] = jit(one)
    return _SOURCES


# Pieces of kernels: jitted too before a kernel is.


def _loaded(x, first, rows, at, stride, M, K):
    """Numbers ``at`` of ROWS rows from row ``first`` on; 0 outside."""
    inside = (rows < M - first)[:, None] & (at < K)[None, :]
    return tl.load(
        x + first * stride + (rows[:, None] * stride + at[None, :]), mask=inside, other=0.0
    )


def _stored(q, first, rows, at, M, K, value, inverse):
    """Write numbers ``at`` of ROWS rows as int8.

    Adding 1.5 * 2**23 leaves no room for a fraction: the sum is rounded half to even and its low
    byte is the int8. Unlike llrint this needs no libdevice, whose place differs by release.
    """
    inside = (rows < M - first)[:, None] & (at < K)[None, :]
    byte = (value * inverse[:, None] + 12582912.0).to(tl.int32, bitcast=True).to(tl.int8)
    tl.store(q + first * K + (rows[:, None] * K + at[None, :]), byte, mask=inside)


def _largest_bits(value):
    """Largest magnitude of each row, as the bits of a float32, which are in order as integers.

    As integers a NaN is larger than infinity; as a number it would lose against any other.
    """
    return tl.max(value.to(tl.int32, bitcast=True) & 0x7FFFFFFF, axis=1)


def _magnitude(bits):
    """The number of those bits, infinite for a NaN."""
    number = bits.to(tl.float32, bitcast=True)
    return tl.where(number < float("inf"), number, float("inf"))


def _inverse(absmax):
    return 127.0 / tl.maximum(absmax, 1e-36)  # a row of zeros stays one


def _let_next_start(program):
    """Let the next kernel be launched before this one ends, if it was asked to wait by itself.

    (Triton 2.1 takes no function without a parameter, and the instruction gives something back.)
    """
    tl.inline_asm_elementwise(
        "griddepcontrol.launch_dependents; mov.u32 $0, $1;", "=r,r", [program],
        dtype=tl.int32, is_pure=False, pack=1,
    )  # fmt: skip


_PIECES = (_loaded, _stored, _largest_bits, _magnitude, _inverse, _let_next_start)


def _quantize_rows(
    x, q, scale, factor, M, K, stride_x, steps,
    FACTOR: tl.constexpr, ROWS: tl.constexpr, A: tl.constexpr, B: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    if EARLY:
        _let_next_start(tl.program_id(0))
    first = tl.program_id(0).to(tl.int64) * ROWS
    rows = tl.arange(0, ROWS)
    at = tl.arange(0, A)
    value = _loaded(x, first, rows, at, stride_x, M, K).to(tl.float32)
    if FACTOR:
        value *= _loaded(factor, 0, rows, at, 0, ROWS, K)
    bits = _largest_bits(value)
    if B > 0:
        then = A + tl.arange(0, B)
        rest = _loaded(x, first, rows, then, stride_x, M, K).to(tl.float32)
        if FACTOR:
            rest *= _loaded(factor, 0, rows, then, 0, ROWS, K)
        bits = tl.maximum(bits, _largest_bits(rest))
    absmax = _magnitude(bits)
    _stored(q, first, rows, at, M, K, value, _inverse(absmax))
    if B > 0:
        _stored(q, first, rows, then, M, K, rest, _inverse(absmax))
    tl.store(scale + first + rows, absmax / steps, mask=rows < M - first)


def _quantize_two(
    x, q, scale, w, w_q, w_absmax, M, N, K, stride_x, stride_w, steps, w_programs,
    WHOLE: tl.constexpr, ROWS: tl.constexpr, A: tl.constexpr, B: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    # The first programs do w's rows, or leave parts of its largest magnitude; the others x's rows.
    if EARLY:
        _let_next_start(tl.program_id(0))
    program = tl.program_id(0).to(tl.int64)
    rows = tl.arange(0, ROWS)
    at = tl.arange(0, A)
    if program < w_programs:
        most = tl.zeros([ROWS], dtype=tl.int32)
        for block in range(program, tl.cdiv(N, ROWS), w_programs):
            first = block * ROWS
            value = _loaded(w, first, rows, at, stride_w, N, K).to(tl.float32)
            bits = _largest_bits(value)
            if B > 0:
                then = A + tl.arange(0, B)
                rest = _loaded(w, first, rows, then, stride_w, N, K).to(tl.float32)
                bits = tl.maximum(bits, _largest_bits(rest))
            if WHOLE:
                most = tl.maximum(most, bits)
            else:
                absmax = _magnitude(bits)
                _stored(w_q, first, rows, at, N, K, value, _inverse(absmax))
                if B > 0:
                    _stored(w_q, first, rows, then, N, K, rest, _inverse(absmax))
                tl.store(w_absmax + first + rows, absmax, mask=rows < N - first)
        if WHOLE:
            tl.store(w_absmax + program, tl.max(_magnitude(most), axis=0))
    else:
        first = (program - w_programs) * ROWS
        value = _loaded(x, first, rows, at, stride_x, M, K).to(tl.float32)
        bits = _largest_bits(value)
        if B > 0:
            then = A + tl.arange(0, B)
            rest = _loaded(x, first, rows, then, stride_x, M, K).to(tl.float32)
            bits = tl.maximum(bits, _largest_bits(rest))
        absmax = _magnitude(bits)
        _stored(q, first, rows, at, M, K, value, _inverse(absmax))
        if B > 0:
            _stored(q, first, rows, then, M, K, rest, _inverse(absmax))
        tl.store(scale + first + rows, absmax / steps, mask=rows < M - first)


def _quantize_wide_rows(
    x, q, scale, factor, K, stride_x, steps, FACTOR: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    one = tl.arange(0, 1)
    most = tl.zeros([1], dtype=tl.int32)
    for start in range(0, K, BLOCK):
        at = start + tl.arange(0, BLOCK)
        value = _loaded(x, row, one, at, stride_x, row + 1, K).to(tl.float32)
        if FACTOR:
            value *= _loaded(factor, 0, one, at, 0, 1, K)
        most = tl.maximum(most, _largest_bits(value))
    absmax = _magnitude(most)
    for start in range(0, K, BLOCK):
        at = start + tl.arange(0, BLOCK)
        value = _loaded(x, row, one, at, stride_x, row + 1, K).to(tl.float32)
        if FACTOR:
            value *= _loaded(factor, 0, one, at, 0, 1, K)
        _stored(q, row, one, at, row + 1, K, value, _inverse(absmax))
    tl.store(scale + row + one, absmax / steps)


def _quantize_and_sum(
    x, q, scale, factor, parts, M, K, stride_x, steps,
    FACTOR: tl.constexpr, ROWS: tl.constexpr, A: tl.constexpr, B: tl.constexpr,
    AHEAD: tl.constexpr,
):  # fmt: skip
    # All is kept in the shape of a tile: a vector would change its layout in each turn.
    part, programs = tl.program_id(0).to(tl.int64), tl.num_programs(0)
    rows = tl.arange(0, ROWS)
    at = tl.arange(0, A)
    total = tl.zeros([ROWS, A], dtype=tl.float32)
    if FACTOR:
        multiplier = _loaded(factor, 0, rows, at, 0, ROWS, K)
    if B > 0:
        then = A + tl.arange(0, B)
        total_rest = tl.zeros([ROWS, B], dtype=tl.float32)
        if FACTOR:
            multiplier_rest = _loaded(factor, 0, rows, then, 0, ROWS, K)
    if AHEAD:  # a turn's numbers are on their way while the last one's are worked on
        coming = _loaded(x, part * ROWS, rows, at, stride_x, M, K)
        if B > 0:
            coming_rest = _loaded(x, part * ROWS, rows, then, stride_x, M, K)
    for block in range(part, tl.cdiv(M, ROWS), programs):
        first = block * ROWS
        later = first + programs * ROWS
        if not AHEAD:
            coming = _loaded(x, first, rows, at, stride_x, M, K)
            if B > 0:
                coming_rest = _loaded(x, first, rows, then, stride_x, M, K)
        value = coming.to(tl.float32)
        if B > 0:
            rest = coming_rest.to(tl.float32)
        if AHEAD:
            coming = _loaded(x, later, rows, at, stride_x, M, K)
            if B > 0:
                coming_rest = _loaded(x, later, rows, then, stride_x, M, K)
        total += value
        if FACTOR:
            value *= multiplier
        bits = _largest_bits(value)
        if B > 0:
            total_rest += rest
            if FACTOR:
                rest *= multiplier_rest
            bits = tl.maximum(bits, _largest_bits(rest))
        absmax = _magnitude(bits)
        _stored(q, first, rows, at, M, K, value, _inverse(absmax))
        if B > 0:
            _stored(q, first, rows, then, M, K, rest, _inverse(absmax))
        tl.store(scale + first + rows, absmax / steps, mask=rows < M - first)
    tl.store(parts + part * K + at, tl.sum(total, axis=0), mask=at < K)
    if B > 0:
        tl.store(parts + part * K + then, tl.sum(total_rest, axis=0), mask=then < K)


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


def _quantize_flat(
    x, q, parts, absmax, n, count,
    PARTS: tl.constexpr, BLOCK: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    if EARLY:
        _let_next_start(tl.program_id(0))
    part = tl.arange(0, PARTS)
    largest = tl.max(tl.load(parts + part, mask=part < count, other=0.0), axis=0)
    inverse = 127.0 / tl.maximum(largest, 1e-36)
    # Backwards: what was read last for the largest magnitude may still be in the cache.
    start = (tl.num_programs(0) - 1 - tl.program_id(0)).to(tl.int64) * BLOCK
    at = tl.arange(0, BLOCK)
    value = tl.load(x + start + at, mask=at < n - start, other=0.0).to(tl.float32)
    rounded = value * inverse + 12582912.0
    byte = rounded.to(tl.int32, bitcast=True).to(tl.int8)
    tl.store(q + start + at, byte, mask=at < n - start)
    if tl.program_id(0) == 0:
        tl.store(absmax, largest)


def _transpose_and_add(
    x, y, parts, sums, N, K, count, columns,
    TILE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    if EARLY:
        _let_next_start(tl.program_id(0))
    # The first programs transpose x (N x K); the others, if any, add up count rows of parts.
    across = tl.cdiv(K, TILE)
    tiles = across * tl.cdiv(N, TILE)
    program = tl.program_id(0)
    if program < tiles:
        n = (program // across) * TILE + tl.arange(0, TILE)
        k = (program % across) * TILE + tl.arange(0, TILE)
        read = (n < N)[:, None] & (k < K)[None, :]
        tile = tl.load(x + n.to(tl.int64)[:, None] * K + k[None, :], mask=read, other=0)
        written = (k < K)[:, None] & (n < N)[None, :]
        tl.store(y + k.to(tl.int64)[:, None] * N + n[None, :], tl.trans(tile), mask=written)
    else:
        rows = tl.arange(0, ROWS)
        at = (program - tiles) * BLOCK + tl.arange(0, BLOCK)
        total = tl.zeros([ROWS, BLOCK], dtype=tl.float32)
        for first in range(0, count, ROWS):
            inside = (first + rows < count)[:, None] & (at < columns)[None, :]
            total += tl.load(
                parts + (first + rows)[:, None] * columns + at[None, :], mask=inside, other=0.0
            )
        added = tl.sum(total, axis=0).to(sums.dtype.element_ty)
        tl.store(sums + at, added, mask=at < columns)


def _dequantize_rows(q, scale, x, M, K, times, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    across = tl.cdiv(K, BLOCK)
    first = (tl.program_id(0) // across).to(tl.int64) * ROWS
    rows = tl.arange(0, ROWS)
    at = (tl.program_id(0) % across) * BLOCK + tl.arange(0, BLOCK)
    inside = (rows < M - first)[:, None] & (at < K)[None, :]
    offset = first * K + (rows[:, None] * K + at[None, :])
    byte = tl.load(q + offset, mask=inside, other=0)
    factor = tl.load(scale + first + rows, mask=rows < M - first, other=0.0)
    value = byte.to(tl.float32) * (factor * times)[:, None]
    tl.store(x + offset, value.to(x.dtype.element_ty), mask=inside)


_SOURCES = (
    _quantize_rows, _quantize_wide_rows, _quantize_two, _quantize_and_sum, _largest_parts,
    _quantize_flat, _transpose_and_add, _dequantize_rows,
)  # fmt: skip
