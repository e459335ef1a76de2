"""SwitchBack's quantization for training, launched by addresses where it was launched before.

What _switchback_quantize.py launches for two operands at once, without looking at tensors. Python
3.8 syntax, standard library only at import; torch and triton when called. Loaded by path.
"""

# ruff: noqa: ANN401 - torch's tensors have no types

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any, Callable, Optional, Tuple

ByAddress = Callable[[Tuple[int, ...], float, int], None]
"""Launches for: addresses, all multiples of 16; steps; a stream of the current device."""


def quantize_two(x: Any, weight: Any, *, whole: bool) -> Optional[Tuple[ByAddress, int]]:
    """Return what quantizes such a pair by addresses, and how much room it needs.

    It takes the addresses of x, int8, scales, weight, int8, absmax and room for so many float32,
    then steps, and a stream. None unless such operands were quantized before, and may be as they
    are.
    """
    (rows, columns), columns_out, stride = x.shape, weight.shape[0], x.stride(0)
    index, n = x.get_device(), weight.numel()
    if (
        columns > _ours.LARGEST_BLOCK
        or _ours.rows_contiguous(x) is not x
        or not weight.is_contiguous()
    ):
        return None
    of_weight = _ours.two_plan(rows, columns_out, columns, index, whole=whole)[1]
    key = (index, rows, columns_out, columns, stride, x.dtype, weight.dtype, whole, 0)
    two = _ours.launchers()["quantize_two"].ready(key)
    flat_key = (index, n, of_weight, weight.dtype, 0)
    flat = _ours.launchers()["quantize_flat"].ready(flat_key) if whole else two
    if two is None or flat is None:
        return None
    (start, constants), (start_flat, flat_constants) = two, flat
    sizes = (rows, columns_out, columns, stride, columns)

    def by_row(at: Tuple[int, ...], steps: float, stream: int) -> None:
        start(*at[:6], *sizes, steps, of_weight, *constants, stream=stream)

    def as_a_whole(at: Tuple[int, ...], steps: float, stream: int) -> None:
        *both, w_q, absmax, parts = at
        start(*both, w_q, parts, *sizes, steps, of_weight, *constants, stream=stream)
        start_flat(both[3], w_q, parts, absmax, n, of_weight, *flat_constants, stream=stream)

    return (as_a_whole, of_weight) if whole else (by_row, 0)


def gradient_operands(
    grad: Any, depth: int, *, factor: bool, sums: Optional[Any]
) -> Optional[Tuple[ByAddress, int]]:
    """Return what prepares the input gradient of such a grad by addresses, and its room.

    q is N x depth. It takes the addresses of grad, int8, scales, the factor, room for so many
    float32, q, its transposed copy and the sums, then steps, and a stream; what there is not is not
    read. None unless such operands were prepared before, as in quantize_two.
    """
    (rows, columns), stride, index = grad.shape, grad.stride(0), grad.get_device()
    if columns > _ours.LARGEST_BLOCK or _ours.rows_contiguous(grad) is not grad:
        return None
    count = wide = 0
    if sums is not None:
        count, wide = _ours.sum_plan(rows, columns, factor=factor).programs, columns
    name = "quantize_rows" if sums is None else "quantize_and_sum"
    key = (index, rows, columns, stride, grad.dtype, not factor, 0)
    turning = _ours.launchers()["transpose_and_add"].ready(
        (index, columns, depth, count, wide, sums, 0)
    )
    quantizing = _ours.launchers()[name].ready(key)
    if quantizing is None or turning is None:
        return None
    (start, constants), (turn, turn_constants) = quantizing, turning
    sizes, turn_sizes = (rows, columns, stride), (columns, depth, count, wide)

    def launch(at: Tuple[int, ...], steps: float, stream: int) -> None:
        grad, left, scale, given, parts, q, turned, added = at
        given = given if factor else grad
        if count:
            start(grad, left, scale, given, parts, *sizes, steps, *constants, stream=stream)
        else:
            start(grad, left, scale, given, *sizes, steps, *constants, stream=stream)
        turn(q, turned, parts, added, *turn_sizes, *turn_constants, stream=stream)

    return launch, count * wide


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


_ours: Any = _beside("_switchback_quantize")
