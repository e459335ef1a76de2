"""SwitchBack by torch's own operations: rows to int8, the product of int8 matrices, the rescale.

The way of CPUs, and of GPUs for which Triton compiles no int8 product. qdoctor.nn works by it, and
the probe switchback_forward examines it on a CPU. Standard library only at import; torch when
called. Loaded by path.

Which product is the fastest is found out, not known: on a CPU ``torch._int_mm`` takes oneDNN's
kernels where there is AVX512-VNNI, and is a plain loop elsewhere (ATen/native/LinearAlgebra.cpp,
``_int_mm_out_cpu``). With AVX2 alone 128 rows of 1024 to 4096 take one core 381 ms by it, 53 in
float64, 16 in float32, and 107 as bfloat16 (torch 2.13, an AMD EPYC).
"""

# ruff: noqa: ANN401 - torch's tensors have no types

from __future__ import annotations

import importlib
import math
import time
from typing import Any, Callable, Dict, List, Mapping, Tuple

UNIT = 16
PIECE = 1024
COMPARED, TURNS, HOPELESS = (128, 2048, 512), 3, 4
"""Rows, depth and columns on which products are compared, how often, and after how many times the
best one's time it is given up. Large enough for the product itself to count: on busy cores a call
waits 16 ms for each time that torch spreads it."""


def quantize_rows(x: Any) -> Tuple[Any, Any]:
    """Quantize the rows of x (M x K, floating) to int8: (q, float32 scales M).

    A row is divided by its largest magnitude / 127; a row of zeros has scale 0. What is not finite
    makes the scale, and so every result of that row, not finite.
    """
    torch = importlib.import_module("torch")
    absmax = x.abs().amax(dim=1).float()
    inverse = 127.0 / torch.where(absmax > 0.0, absmax, 1.0)
    q = (x.float() * inverse[:, None]).round_().to(torch.int8)
    return q.contiguous(), absmax / 127.0


def int_mm(a: Any, b: Any) -> Any:
    """int8 M x K by N x K transposed: int32. cuBLASLt wants more than 16 rows and whole eights."""
    torch = importlib.import_module("torch")
    (rows, depth), columns = a.shape, b.shape[0]
    more = -depth % UNIT
    return torch._int_mm(  # noqa: SLF001 - the only way torch offers to its int8 product
        _padded(torch, a, max(0, UNIT + 1 - rows), more),
        _padded(torch, b, -columns % UNIT, more).t(),
    )[:rows, :columns]


def _padded(torch: Any, x: Any, rows: int, columns: int) -> Any:
    return torch.nn.functional.pad(x, (0, columns, 0, rows)) if rows or columns else x


def in_float32(a: Any, b: Any) -> Any:
    """Multiply the same in float32, piece by piece of the depth, so that every sum is exact.

    A product of two int8 numbers is at most 2**14, the sum of 1024 of them 2**24, and float32 holds
    every integer up to that, in whatever order they are added. The pieces are added in float64.
    Autocast, and a lower precision that the program chose for float32 products, would cut them.
    """
    torch = importlib.import_module("torch")
    if _is_cut(torch):
        return in_float64(a, b)
    with torch.autocast("cpu", enabled=False):
        total = a[:, :PIECE].float() @ b[:, :PIECE].float().t()
        for at in range(PIECE, a.shape[1], PIECE):
            piece = a[:, at : at + PIECE].float() @ b[:, at : at + PIECE].float().t()
            total = total.double().add_(piece)
    return total


def _is_cut(torch: Any) -> bool:
    """Say whether float32 products may be multiplied in fewer bits here (oneDNN's bf16, tf32)."""
    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    chosen = getattr(matmul, "fp32_precision", None)  # torch 2.9: also what the older call chose
    if chosen is None:
        return bool(torch.get_float32_matmul_precision() != "highest")
    return chosen not in ("ieee", "none")


def in_float64(a: Any, b: Any) -> Any:
    """Multiply the same in float64, which holds every sum of int8 products exactly."""
    return a.double() @ b.double().t()


PRODUCTS = {  # type: Dict[str, Callable[..., Any]]
    "torch._int_mm": int_mm,
    "float32": in_float32,
    "float64": in_float64,
}
"""What multiplies int8 matrices on a CPU, by name."""
LAST_RESORT = "float64"
"""Never faster than float32, so it is left alone where another is exact."""


def rescaled(sums: Any, scale_a: Any, scale_b: Any, bias: Any, dtype: Any) -> Any:
    """Turn sums into results: times the scale of each row and column, plus the bias, as dtype."""
    y = sums.float() * scale_a[:, None] * scale_b
    return (y if bias is None else y + bias.float()).to(dtype)


def demanding(device: Any) -> Tuple[Any, Any, Any]:
    """int8 operands and their exact product; most sums pass 2**24, where float32 loses count."""
    torch = importlib.import_module("torch")
    a = (torch.arange(33 * 2048, device=device) % 28 + 100).to(torch.int8).view(33, 2048)
    b = (torch.arange(40 * 2048, device=device) % 9 + 119).to(torch.int8).view(40, 2048)
    b[::3] *= -1
    return a, b, a.cpu().double() @ b.cpu().double().t()


def inexact(sums: Any, exact: Any) -> str:
    """Say how many sums are not the exact ones; ``""`` for none."""
    differing = int((sums.cpu().double() != exact).sum())
    return "{} of {} sums are not exact".format(differing, exact.numel()) if differing else ""


def exact_on_cpu(made: Any) -> Tuple[Dict[str, Callable[..., Any]], List[str]]:
    """Try the products on a CPU: those whose sums are exact, and why others do not serve.

    ``made`` is _outcomes, which knows a full machine's errors: these say nothing, and are raised.
    """
    a, b, exact = demanding("cpu")
    serving = {}  # type: Dict[str, Callable[..., Any]]
    notes = []
    for name, multiply in PRODUCTS.items():
        if serving and name == LAST_RESORT:
            continue
        try:
            why = inexact(multiply(a, b), exact)
        except (RuntimeError, AttributeError) as error:  # no such product here, or none at all
            if made.from_error(error)["outcome"] == "skipped":
                raise
            why = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        if why:
            notes.append("{} does not serve: {}".format(name, why))
        else:
            serving[name] = multiply
    return serving, notes


def fastest(products: Mapping[str, Callable[[Any, Any], Any]]) -> str:
    """Name the product that takes least on this CPU, by the wall clock, of those that are given.

    They are called in turn, and the shortest call of each counts: what else runs here makes calls
    longer, and never shorter.
    """
    torch = importlib.import_module("torch")
    rows, depth, columns = COMPARED
    a, b = (torch.full((size, depth), 3, dtype=torch.int8) for size in (rows, columns))
    taken = dict.fromkeys(products, math.inf)
    for _ in range(TURNS):
        for name, multiply in products.items():
            if HOPELESS * min(taken.values()) < taken[name] < math.inf:
                continue
            begun = time.perf_counter()
            multiply(a, b)
            taken[name] = min(taken[name], time.perf_counter() - begun)
    return min(taken, key=lambda name: taken[name])
