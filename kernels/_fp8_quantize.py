"""Quantizing rows to e4m3 (OFP8, revision 1.0) in one pass, in Triton.

A row is read once, held in registers, and written as e4m3 numbers beside its scale, filled up with
zeros to the width that the product wants. Standard library only at import; triton and torch when
called. Loaded by path.
"""

# ruff: noqa: ANN001, ANN202, ANN401, F821, N803, PLR0913, PLR0917 - Triton source has
# no types, its tl is bound later, and a kernel takes what it takes
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any, Dict, Tuple

WIDEST = 16384
"""Widest row held in registers: 16 warps with 32 numbers a thread."""
PROGRAMS = 512
"""Rows are put together only as long as there are that many programs: four a Hopper SM."""
tl: Any  # triton.language, bound before the kernel is compiled


def _quantize_rows(x, q, scale, M, K, WIDTH, stride_x, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    first = tl.program_id(0).to(tl.int64) * ROWS
    rows = tl.arange(0, ROWS)
    at = tl.arange(0, BLOCK)
    there = (rows < M - first)[:, None]
    value = tl.load(
        x + first * stride_x + (rows[:, None] * stride_x + at[None, :]),
        mask=there & (at < K)[None, :], other=0.0,
    ).to(tl.float32)  # fmt: skip
    magnitude = tl.abs(value)
    # A NaN loses against any number: as infinity it makes the whole row's result not finite.
    magnitude = tl.where(magnitude < float("inf"), magnitude, float("inf"))
    absmax = tl.max(magnitude, axis=1)
    # 448 over less than 1e-36 is infinite, and that times a zero of the row no number.
    absmax = tl.where(absmax > 0.0, tl.maximum(absmax, 6e-36), 448.0)
    scaled = value * (448.0 / absmax)[:, None]
    tl.store(
        q + first * WIDTH + (rows[:, None] * WIDTH + at[None, :]),
        scaled.to(q.dtype.element_ty), mask=there & (at < WIDTH)[None, :],
    )  # fmt: skip
    tl.store(scale + first + rows, absmax / 448.0, mask=rows < M - first)


_launcher: Dict[str, Any] = {}
_torch: Any = None  # bound with the kernel


def launcher() -> Any:
    """Return the kernel, ready to launch. Imports triton."""
    if not _launcher:
        globals()["tl"] = importlib.import_module("triton.language")
        globals()["_torch"] = importlib.import_module("torch")
        _launcher.update(_beside("_launched").launchers((_quantize_rows,)))
    return _launcher["quantize_rows"]


def cut(rows: int, width: int) -> Tuple[int, int, int]:
    """Deal out rows: (rows of a program, padded width, warps); 4096 numbers a program if many."""
    block = max(16, 1 << (width - 1).bit_length())
    share = max(1, min(4096 // block, 16, rows // PROGRAMS))
    each = 1 << (share.bit_length() - 1)
    return each, block, max(1, min(16, each * block // 1024))


def quantize_rows(x: Any, width: int) -> Tuple[Any, Any]:
    """Quantize x (M x K, float, K at most WIDEST) row by row: (e4m3 M x width, float32 M x 1).

    width is K or a little more; what is beyond K is zero. A row is about its numbers times its
    scale, largest magnitude / 448; a row of zeros has the scale 1.
    """
    launch = launcher()
    (rows, columns), stride = x.shape, x.stride(0)
    if x.stride(1) != 1 or abs(stride) >= _FAR:
        x = x.contiguous()
        stride = columns
    index, device = x.get_device(), x.device
    q = _torch.empty(rows, width, dtype=_torch.float8_e4m3fn, device=device)
    scale = _torch.empty(rows, 1, dtype=_torch.float32, device=device)
    key = (index, rows, columns, width, stride, x.dtype, x.data_ptr() % 16)
    arguments = (x, q, scale, rows, columns, width, stride)
    if index < 0 or index == _torch.cuda.current_device():
        launch(key, arguments, lambda: _plan(rows, width))
    else:
        with _torch.cuda.device(index):
            launch(key, arguments, lambda: _plan(rows, width))
    return q, scale


_FAR = 2**26
"""Rows so far apart that 32-bit steps within a program would not reach."""


def _plan(rows: int, width: int) -> Any:
    each, block, warps = cut(rows, width)
    return _beside("_launched").Plan(-(-rows // each), (each, block), warps)


def _beside(name: str) -> Any:
    module = sys.modules.get("qdoctor_kernel_" + name)
    if module is None:
        path = Path(__file__).resolve().with_name(name + ".py")
        spec = importlib.util.spec_from_file_location("qdoctor_kernel_" + name, str(path))
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        sys.modules[spec.name] = module  # type: ignore[union-attr]
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module
