"""SwitchBack's product in Triton: int8 times int8, exact int32 sums, rescaled, plus a bias.

Method: Wortsman et al. 2023, "Stable and low-precision training for large-scale vision-language
models" (arXiv:2304.13013), row-wise for both operands. Standard library only at import; triton and
torch when called. Loaded by path. What multiplies where is chosen by _switchback_product.py.
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
_LIMIT = 48 * 1024  # bytes of shared memory that every GPU's blocks may take
LINE = 128  # bytes that are brought near at a time
FORESEEN_BYTES = 48 * 1024
"""Of B for a program: what an H100's memory gives its 132 multiprocessors in two microseconds."""


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
"""Where nothing was measured: the first that fits the device's shared memory, largest first."""
FEW_ROWS = Tiles(64, 128, 128, 4, 3)
FEW_ROWS_LIMIT = 64


def _int8_product(
    a, b, c, scale_a, scale_b, bias,
    M, N, K, step_b,
    RAW: tl.constexpr, BIAS: tl.constexpr, EVEN: tl.constexpr,
    OVERLAP: tl.constexpr, FORESEEN: tl.constexpr,
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
    b_rows = b + (columns % N).to(tl.int64)[None, :] * K
    if FORESEEN > 0:  # harmless even where B is still being written
        lines = tl.arange(0, BLOCK_K // 128) * 128
        for step in range(FORESEEN):
            spots = b_rows + tl.minimum(lines + step * BLOCK_K, K - 1)[:, None]
            tl.inline_asm_elementwise(
                "prefetch.global.L2 [$1]; mov.u32 $0, 0;", "=r,l", [spots.to(tl.int64)],
                dtype=tl.int32, is_pure=False, pack=1,
            )  # fmt: skip
    if OVERLAP:  # launched before its predecessor ended, whose results are there from here on
        tl.inline_asm_elementwise(
            "griddepcontrol.wait; mov.u32 $0, $1;", "=r,r", [pid],
            dtype=tl.int32, is_pure=False, pack=1,
        )  # fmt: skip
    if not RAW:  # read now, they are there when the sums are
        left = tl.load(scale_a + rows, mask=rows < M, other=0.0)
        right = tl.load(scale_b + columns * step_b, mask=columns < N, other=0.0)
        if BIAS:
            plus = tl.load(bias + columns, mask=columns < N, other=0.0)
    at_a = a + (rows % M).to(tl.int64)[:, None] * K + ks[None, :]
    at_b = b_rows + ks[:, None]
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
    at_c = c + rows.to(tl.int64)[:, None] * N + columns[None, :]
    if RAW:
        tl.store(at_c, total, mask=inside)
    else:
        y = total.to(tl.float32) * left[:, None] * right[None, :]
        if BIAS:
            y = y + plus.to(tl.float32)[None, :]
        tl.store(at_c, y.to(c.dtype.element_ty), mask=inside)


_launchers: Dict[str, Any] = {}


def jitted() -> Dict[str, Any]:
    """The kernel as triton.JITFunction: int8_product. Imports triton."""
    return {name: launcher.kernel for name, launcher in _made().items()}


def _made() -> Dict[str, Any]:
    if not _launchers:
        globals()["tl"] = importlib.import_module("triton.language")
        _launchers.update(_beside("_launched").launchers((_int8_product,)))
    return _launchers


def overlaps() -> bool:
    """Say whether this Triton can launch a kernel before its predecessor has ended.

    Those that can offer the instruction that waits for the predecessor, too.
    """
    language = importlib.import_module("triton.language")
    cuda = getattr(getattr(language, "extra", None), "cuda", None)
    return hasattr(cuda, "gdc_wait")


def int8_product(a: Any, b: Any) -> Tuple[Any, Any]:
    """Multiply int8 a (M x K) by int8 b (N x K) transposed: (int32 M x N, the compiled kernel)."""
    torch = importlib.import_module("torch")
    (rows, depth), columns = a.shape, b.shape[0]
    c = torch.empty((rows, columns), dtype=torch.int32, device=a.device)
    tiles = fitting(rows, shared_limit(a.get_device()))
    with torch.cuda.device(a.device) if a.is_cuda else contextlib.nullcontext():
        compiled = jitted()["int8_product"][(blocks(rows, columns, tiles),)](
            a, b, c, a, a, a,  # a stands for pointers that are not read
            rows, columns, depth, 1, **constants(depth, tiles, raw=True),
            num_warps=tiles.warps, num_stages=tiles.stages,
        )  # fmt: skip
    return c, compiled


def launch(
    key: Optional[Tuple[Any, ...]], arguments: Tuple[Any, ...], tiles: Tiles, *, overlap: bool
) -> None:
    """Launch for rescaled results, on the current device.

    Arguments: a, b, c, scale_a, scale_b, bias or None, M, N, K, and the step from one of b's scales
    to the next, 0 or 1. key: what _launched.Launcher asks for; None: look everything up anew.
    """
    a, b, c, scale_a, scale_b, bias, rows, columns, depth, step_b = arguments
    given = (a, b, c, scale_a, scale_b, a if bias is None else bias, rows, columns, depth, step_b)

    def plan() -> Any:
        known = constants(depth, tiles, bias=bias is not None, overlap=overlap, few=rows <= tiles.m)
        options = [("num_stages", tiles.stages), *([("launch_pdl", True)] if overlap else [])]
        programs = blocks(rows, columns, tiles)
        return _beside("_launched").Plan(
            programs, tuple(known.values()), tiles.warps, tuple(options)
        )

    launcher = _made()["int8_product"]
    if key is not None:
        launcher(key, given, plan)
        return
    made = plan()
    launcher.kernel[(made.programs,)](
        *given, *made.constants, num_warps=made.warps, **dict(made.options)
    )


def ready(key: Tuple[Any, ...]) -> Optional[Tuple[Any, Tuple[Any, ...]]]:
    """Return what launches for that key take, and their constants, once one was launched by it."""
    found: Optional[Tuple[Any, Tuple[Any, ...]]] = _made()["int8_product"].ready(key)
    return found


def constants(
    depth: int,
    tiles: Tiles,
    *,
    raw: bool = False,
    bias: bool = False,
    overlap: bool = False,
    few: bool = False,
) -> Dict[str, Any]:
    """List the kernel's constexpr parameters, in its order.

    overlap: it is launched before its predecessor has ended, and waits for it. few: one program
    has all rows; then it is worth while to bring the start of B near before that.
    """
    steps = max(1, FORESEEN_BYTES // (tiles.n * tiles.k))
    foreseen = min(-(-depth // tiles.k), steps) if overlap and few and tiles.k >= LINE else 0
    return {
        "RAW": raw, "BIAS": bias, "EVEN": depth % tiles.k == 0,
        "OVERLAP": overlap, "FORESEEN": foreseen,
        "BLOCK_M": tiles.m, "BLOCK_N": tiles.n, "BLOCK_K": tiles.k, "GROUP": 8,
    }  # fmt: skip


def blocks(rows: int, columns: int, tiles: Tiles) -> int:
    """How many programs a product of rows x columns takes."""
    return -(-rows // tiles.m) * -(-columns // tiles.n)


def fitting(rows: int, limit: int) -> Tiles:
    """Pick safe block sizes for so many rows within a limit of shared memory in bytes."""
    ordered = ((FEW_ROWS,) if rows <= FEW_ROWS_LIMIT else ()) + TILES
    return next((tiles for tiles in ordered if tiles.shared_bytes <= limit), TILES[-1])


def shared_limit(index: int) -> int:
    """Shared memory a block of a GPU may take, in bytes; where unknown, what all GPUs have."""
    if index < 0:  # the CPU, where Triton's interpreter runs
        return _LIMIT
    properties = importlib.import_module("torch").cuda.get_device_properties(index)
    return int(getattr(properties, "shared_memory_per_block_optin", _LIMIT))


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
