"""SwitchBack's forward in Triton: quantize rows to int8, multiply, rescale and add the bias at once.

Method: Wortsman et al. 2023, "Stable and low-precision training for large-scale vision-language
models" (arXiv:2304.13013), row-wise for both operands. Standard library only at import; triton and
torch when called. Loaded by path, by the kernel that checks it and by whoever offers it as a layer.
"""

from __future__ import annotations

import importlib
from typing import Any, Dict, NamedTuple, Optional, Tuple

ROW_BLOCK = 1024


class Tiles(NamedTuple):
    """One way to cut the product: block sizes, warps, pipeline stages."""

    m: int
    n: int
    k: int
    warps: int
    stages: int

    @property
    def shared_bytes(self) -> int:
        """Shared memory that the staged int8 operand tiles take."""
        return (self.m + self.n) * self.k * self.stages


TILES = (
    Tiles(128, 256, 128, 8, 4),
    Tiles(128, 256, 128, 8, 3),
    Tiles(128, 128, 128, 8, 3),
    Tiles(128, 128, 64, 8, 3),
    Tiles(64, 128, 64, 4, 2),
)
"""Largest first: the first that fits the device's shared memory is taken."""
FEW_ROWS = Tiles(64, 128, 128, 4, 3)
FEW_ROWS_LIMIT = 64


def _quantize_rows(x, q, scale, K, stride_x, BLOCK: "tl.constexpr"):  # noqa: ANN001, ANN202, F821, N803
    row = tl.program_id(0).to(tl.int64)  # noqa: F821 - tl is bound before this is compiled
    at = tl.arange(0, BLOCK)  # noqa: F821
    largest = tl.zeros([BLOCK], dtype=tl.float32)  # noqa: F821
    for start in range(0, K, BLOCK):
        inside = start + at < K
        value = tl.load(x + row * stride_x + start + at, mask=inside, other=0.0)  # noqa: F821
        largest = tl.maximum(largest, tl.abs(value.to(tl.float32)))  # noqa: F821
    absmax = tl.max(largest, axis=0)  # noqa: F821
    inverse = tl.where(absmax > 0.0, 127.0 / absmax, 0.0)  # noqa: F821
    for start in range(0, K, BLOCK):
        inside = start + at < K
        value = tl.load(x + row * stride_x + start + at, mask=inside, other=0.0)  # noqa: F821
        # 1.5 * 2**23: adding it leaves no room for a fraction, so the sum rounds half to even;
        # unlike llrint this needs no libdevice, whose place differs from release to release.
        rounded = (value.to(tl.float32) * inverse + 12582912.0) - 12582912.0  # noqa: F821
        tl.store(q + row * K + start + at, rounded.to(tl.int8), mask=inside)  # noqa: F821
    tl.store(scale + row, absmax / 127.0)  # noqa: F821


def _int8_product(  # noqa: ANN202, PLR0913
    a, b, c, scale_a, scale_b, bias,  # noqa: ANN001
    M, N, K, stride_c,  # noqa: ANN001, N803
    RAW: "tl.constexpr", BIAS: "tl.constexpr", EVEN: "tl.constexpr",  # noqa: F821, N803
    BLOCK_M: "tl.constexpr", BLOCK_N: "tl.constexpr", BLOCK_K: "tl.constexpr",  # noqa: F821, N803
    GROUP: "tl.constexpr",  # noqa: F821, N803
):  # fmt: skip
    # Neighbouring programs share rows of B: they walk down GROUP blocks of A before moving on.
    pid = tl.program_id(0)  # noqa: F821
    blocks_m = tl.cdiv(M, BLOCK_M)  # noqa: F821
    blocks_n = tl.cdiv(N, BLOCK_N)  # noqa: F821
    in_group = GROUP * blocks_n
    first = (pid // in_group) * GROUP
    height = min(blocks_m - first, GROUP)
    pid_m = first + (pid % in_group) % height
    pid_n = (pid % in_group) // height

    rows = pid_m * BLOCK_M + tl.arange(0, BLOCK_M)  # noqa: F821
    columns = pid_n * BLOCK_N + tl.arange(0, BLOCK_N)  # noqa: F821
    ks = tl.arange(0, BLOCK_K)  # noqa: F821
    # Rows past the end wrap around: they are read, and never stored.
    at_a = a + (rows % M).to(tl.int64)[:, None] * K + ks[None, :]  # noqa: F821
    at_b = b + (columns % N).to(tl.int64)[None, :] * K + ks[:, None]  # noqa: F821
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.int32)  # noqa: F821
    for start in range(0, K, BLOCK_K):
        if EVEN:
            tile_a = tl.load(at_a)  # noqa: F821
            tile_b = tl.load(at_b)  # noqa: F821
        else:
            tile_a = tl.load(at_a, mask=ks[None, :] < K - start, other=0)  # noqa: F821
            tile_b = tl.load(at_b, mask=ks[:, None] < K - start, other=0)  # noqa: F821
        total += tl.dot(tile_a, tile_b)  # noqa: F821
        at_a += BLOCK_K
        at_b += BLOCK_K

    inside = (rows < M)[:, None] & (columns < N)[None, :]
    at_c = c + rows.to(tl.int64)[:, None] * stride_c + columns[None, :]  # noqa: F821
    if RAW:
        tl.store(at_c, total, mask=inside)  # noqa: F821
    else:
        left = tl.load(scale_a + rows, mask=rows < M, other=0.0)  # noqa: F821
        right = tl.load(scale_b + columns, mask=columns < N, other=0.0)  # noqa: F821
        y = total.to(tl.float32) * left[:, None] * right[None, :]  # noqa: F821
        if BIAS:
            plus = tl.load(bias + columns, mask=columns < N, other=0.0)  # noqa: F821
            y = y + plus.to(tl.float32)[None, :]  # noqa: F821
        tl.store(at_c, y.to(c.dtype.element_ty), mask=inside)  # noqa: F821


_jitted: Dict[str, Any] = {}


def jitted() -> Dict[str, Any]:
    """Both kernels as triton.JITFunction: quantize_rows, int8_product. Imports triton."""
    if not _jitted:
        triton = importlib.import_module("triton")
        globals()["tl"] = importlib.import_module("triton.language")
        _jitted["quantize_rows"] = triton.jit(_quantize_rows)
        _jitted["int8_product"] = triton.jit(_int8_product)
    return _jitted


def quantize_rows(x: Any) -> Tuple[Any, Any]:  # noqa: ANN401 - torch.Tensor
    """Quantize x (M x K, float, rows contiguous) row by row: (int8 M x K, float32 scales M).

    x is about q * scale[:, None]; scale = max |row| / 127; a row of zeros has scale 0.
    """
    torch = importlib.import_module("torch")
    rows, columns = x.shape
    if x.stride(1) != 1:
        x = x.contiguous()
    q = torch.empty((rows, columns), dtype=torch.int8, device=x.device)
    scale = torch.empty((rows,), dtype=torch.float32, device=x.device)
    with torch.cuda.device(x.device):
        jitted()["quantize_rows"][(rows,)](
            x, q, scale, columns, x.stride(0), BLOCK=ROW_BLOCK, num_warps=4
        )
    return q, scale


def int8_product(a: Any, b: Any) -> Tuple[Any, Any]:  # noqa: ANN401
    """Multiply int8 a (M x K) by int8 b (N x K) transposed: (int32 M x N, the compiled kernel)."""
    torch = importlib.import_module("torch")
    c = torch.empty((a.shape[0], b.shape[0]), dtype=torch.int32, device=a.device)
    return c, _launch(a, b, c, None, None)


def rescaled_product(
    a: Tuple[Any, Any], b: Tuple[Any, Any], bias: Optional[Any], dtype: Any  # noqa: ANN401
) -> Tuple[Any, Any]:
    """Multiply two quantized matrices, rescale, add the bias: (dtype M x N, the compiled kernel).

    a and b are what quantize_rows gave for M x K and N x K; bias has N elements or is None.
    """
    torch = importlib.import_module("torch")
    c = torch.empty((a[0].shape[0], b[0].shape[0]), dtype=dtype, device=a[0].device)
    return c, _launch(a[0], b[0], c, (a[1], b[1]), bias)


def forward(x: Any, weight: Any, bias: Optional[Any]) -> Any:  # noqa: ANN401
    """Compute x (M x K) times weight (N x K) transposed plus bias, in x's dtype."""
    return rescaled_product(quantize_rows(x), quantize_rows(weight), bias, x.dtype)[0]


def choose_tiles(rows: int, shared_limit: int) -> Tiles:
    """Pick block sizes for a product of ``rows`` rows within a shared-memory limit in bytes."""
    ordered = ((FEW_ROWS,) if rows <= FEW_ROWS_LIMIT else ()) + TILES
    return next((tiles for tiles in ordered if tiles.shared_bytes <= shared_limit), TILES[-1])


def _launch(a: Any, b: Any, c: Any, scales: Any, bias: Any) -> Any:  # noqa: ANN401
    torch = importlib.import_module("torch")
    (rows, depth), columns = a.shape, b.shape[0]
    tiles = choose_tiles(rows, _shared_limit(torch.cuda.get_device_properties(a.device)))
    blocks = -(-rows // tiles.m) * -(-columns // tiles.n)
    left, right = scales if scales else (a, a)  # a stands for pointers that are not read
    with torch.cuda.device(a.device):
        return jitted()["int8_product"][(blocks,)](
            a, b, c, left, right, a if bias is None else bias,
            rows, columns, depth, c.stride(0),
            RAW=scales is None, BIAS=bias is not None, EVEN=depth % tiles.k == 0,
            BLOCK_M=tiles.m, BLOCK_N=tiles.n, BLOCK_K=tiles.k, GROUP=8,
            num_warps=tiles.warps, num_stages=tiles.stages,
        )  # fmt: skip


def _shared_limit(properties: Any) -> int:  # noqa: ANN401
    """Shared memory a block may take, in bytes; 48 KiB, which every device has, where torch is silent."""
    return int(getattr(properties, "shared_memory_per_block_optin", 48 * 1024))
