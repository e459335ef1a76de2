"""SwitchBack's forward in Triton: quantize rows to int8, then multiply, rescale, add the bias.

Method: Wortsman et al. 2023, "Stable and low-precision training for large-scale vision-language
models" (arXiv:2304.13013), row-wise for both operands. Standard library only at import; triton and
torch when called. Loaded by path, by the kernel that checks it and by whoever offers it as a layer.
"""

# ruff: noqa: ANN001, ANN202, ANN401, F821, N803, PLR0913, PLR0917 - Triton source has
# no types, its tl is bound later, and a kernel takes what it takes
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any, Dict, NamedTuple, Optional, Tuple

tl: Any  # triton.language, bound before a kernel is compiled


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
    Tiles(128, 128, 128, 8, 3),
    Tiles(128, 128, 64, 8, 3),
    Tiles(64, 128, 64, 4, 2),
)
"""Largest first: the first that fits the device's shared memory is taken. The first was also the
fastest of nine on an H100, at 4096 x 1280 x 5120, 16384 x 1024 x 4096, 8192 cubed (2026-11-22)."""
FEW_ROWS = Tiles(64, 128, 128, 4, 3)
FEW_ROWS_LIMIT = 64


def _int8_product(
    a, b, c, scale_a, scale_b, bias,
    M, N, K, stride_c,
    RAW: tl.constexpr, BIAS: tl.constexpr, EVEN: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    GROUP: tl.constexpr,
):  # fmt: skip
    # Neighbouring programs share rows of B: they walk down GROUP blocks of A before moving on.
    pid = tl.program_id(0)
    blocks_m = tl.cdiv(M, BLOCK_M)
    blocks_n = tl.cdiv(N, BLOCK_N)
    in_group = GROUP * blocks_n
    first = (pid // in_group) * GROUP
    height = min(blocks_m - first, GROUP)
    pid_m = first + (pid % in_group) % height
    pid_n = (pid % in_group) // height

    rows = pid_m * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = pid_n * BLOCK_N + tl.arange(0, BLOCK_N)
    ks = tl.arange(0, BLOCK_K)
    # Rows past the end wrap around: they are read, and never stored.
    at_a = a + (rows % M).to(tl.int64)[:, None] * K + ks[None, :]
    at_b = b + (columns % N).to(tl.int64)[None, :] * K + ks[:, None]
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.int32)
    for start in range(0, K, BLOCK_K):
        if EVEN:
            tile_a = tl.load(at_a)
            tile_b = tl.load(at_b)
        else:
            tile_a = tl.load(at_a, mask=ks[None, :] < K - start, other=0)
            tile_b = tl.load(at_b, mask=ks[:, None] < K - start, other=0)
        total += tl.dot(tile_a, tile_b)
        at_a += BLOCK_K
        at_b += BLOCK_K

    inside = (rows < M)[:, None] & (columns < N)[None, :]
    at_c = c + rows.to(tl.int64)[:, None] * stride_c + columns[None, :]
    if RAW:
        tl.store(at_c, total, mask=inside)
    else:
        left = tl.load(scale_a + rows, mask=rows < M, other=0.0)
        right = tl.load(scale_b + columns, mask=columns < N, other=0.0)
        y = total.to(tl.float32) * left[:, None] * right[None, :]
        if BIAS:
            plus = tl.load(bias + columns, mask=columns < N, other=0.0)
            y = y + plus.to(tl.float32)[None, :]
        tl.store(at_c, y.to(c.dtype.element_ty), mask=inside)


_jitted: Dict[str, Any] = {}


def jitted() -> Dict[str, Any]:
    """The kernel as triton.JITFunction: int8_product. Imports triton."""
    if not _jitted:
        triton = importlib.import_module("triton")
        globals()["tl"] = importlib.import_module("triton.language")
        _jitted["int8_product"] = triton.jit(_int8_product)
    return _jitted


def quantize_rows(x: Any) -> Tuple[Any, Any]:
    """Quantize x (M x K, float) row by row: (int8 M x K, float32 scales M, max |row| / 127)."""
    q, scale = _beside("_switchback_quantize").quantize_rows(x)
    return q, scale


def int8_product(a: Any, b: Any) -> Tuple[Any, Any]:
    """Multiply int8 a (M x K) by int8 b (N x K) transposed: (int32 M x N, the compiled kernel)."""
    torch = importlib.import_module("torch")
    c = torch.empty((a.shape[0], b.shape[0]), dtype=torch.int32, device=a.device)
    return c, _launch(a, b, c, None, None)


def rescaled_product(
    a: Tuple[Any, Any], b: Tuple[Any, Any], bias: Optional[Any], dtype: Any
) -> Tuple[Any, Any]:
    """Multiply two quantized matrices, rescale, add the bias: (dtype M x N, the compiled kernel).

    a and b are what quantize_rows gave for M x K and N x K; bias has N elements or is None.
    """
    torch = importlib.import_module("torch")
    c = torch.empty((a[0].shape[0], b[0].shape[0]), dtype=dtype, device=a[0].device)
    return c, _launch(a[0], b[0], c, (a[1], b[1]), bias)


def forward(x: Any, weight: Any, bias: Optional[Any]) -> Any:
    """Compute x (M x K) times weight (N x K) transposed plus bias, in x's dtype."""
    return rescaled_product(quantize_rows(x), quantize_rows(weight), bias, x.dtype)[0]


def choose_tiles(rows: int, shared_limit: int) -> Tiles:
    """Pick block sizes for a product of ``rows`` rows within a shared-memory limit in bytes."""
    ordered = ((FEW_ROWS,) if rows <= FEW_ROWS_LIMIT else ()) + TILES
    return next((tiles for tiles in ordered if tiles.shared_bytes <= shared_limit), TILES[-1])


def _launch(a: Any, b: Any, c: Any, scales: Any, bias: Any) -> Any:
    torch = importlib.import_module("torch")
    (rows, depth), columns = a.shape, b.shape[0]
    tiles = choose_tiles(rows, _shared_limit(torch, a))
    blocks = -(-rows // tiles.m) * -(-columns // tiles.n)
    left, right = scales or (a, a)  # a stands for pointers that are not read
    with _current(torch, a):
        return jitted()["int8_product"][(blocks,)](
            a, b, c, left, right, a if bias is None else bias,
            rows, columns, depth, c.stride(0),
            RAW=scales is None, BIAS=bias is not None, EVEN=depth % tiles.k == 0,
            BLOCK_M=tiles.m, BLOCK_N=tiles.n, BLOCK_K=tiles.k, GROUP=8,
            num_warps=tiles.warps, num_stages=tiles.stages,
        )  # fmt: skip


def _current(torch: Any, tensor: Any) -> Any:
    """Make the tensor's GPU current; on the CPU, where Triton's interpreter runs, do nothing."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


def _shared_limit(torch: Any, tensor: Any) -> int:
    """Shared memory a block may take, in bytes; where torch is silent, the 48 KiB all have."""
    properties = torch.cuda.get_device_properties(tensor.device) if tensor.is_cuda else None
    return int(getattr(properties, "shared_memory_per_block_optin", 48 * 1024))


def _beside(name: str) -> Any:
    """Load the kernel file of that name in this folder, once."""
    module = sys.modules.get("qdoctor_kernel_" + name)
    if module is None:
        path = Path(__file__).resolve().with_name(name + ".py")
        spec = importlib.util.spec_from_file_location("qdoctor_kernel_" + name, str(path))
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        sys.modules[spec.name] = module  # type: ignore[union-attr]
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module
