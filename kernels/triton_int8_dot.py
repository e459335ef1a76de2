"""Does ``tl.dot`` of int8 tiles give exact int32 sums here, by an integer matrix instruction?

Both orders of the second operand, since Hopper's warp-group instruction reads only one of them:
``k-major`` (as a linear layer's weight lies) and ``n-major``. Reference: int64 sums on the CPU.
"""

# ruff: noqa: ANN001, ANN202, ANN401, BLE001, F821, N803, PLR0913, PLR0917 - Triton source has no
# types, its tl is bound later, and any error is an answer
# mypy: disable-error-code="no-untyped-def, no-any-return"

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

PROBE = {  # type: Dict[str, Any]
    "name": "triton_int8_dot",
    "title": "Triton int8 matrix product (tl.dot)",
    "needs": ["torch", "triton", "gpu"],
    "compile_needs": ["triton"],
    "modes": ["run", "compile"],
    "seconds": 120,
    "memory_mib": 8192,
    "gpu_mib": 64,
    "imports": ["torch", "triton"],
    "quick": False,
    "variants": ["k-major", "n-major"],
    "tolerance": 0.0,
    "sms": ["7.5", "8.0", "8.6", "8.9", "9.0"],
}

SHAPES = (
    (64, 64, 64), (1, 64, 40), (17, 77, 33), (17, 100, 65), (64, 112, 64), (33, 3, 5), (1, 1, 1),
    (65, 4096, 130),
)  # fmt: skip
"""Rows, depth, columns: one whole tile; one row; depths that are no multiple of 4, of 16 and of 32;
less than any tile; and sums past 2**24, which float32 could not hold."""
BLOCK = 64
"""Rows, columns and depth of a tile: what warp-group instructions take, in 16 KiB of memory."""
OPTIONS = {"num_warps": 4, "num_stages": 2}
TYPES = {
    "a": "*i8", "b": "*i8", "c": "*i32", "M": "i32", "N": "i32", "K": "i32",
    "stride_k": "i32", "stride_n": "i32",
}  # fmt: skip

tl: Any  # triton.language, bound before a kernel is compiled


class Product(NamedTuple):
    """One product: its shape, the sums that differ and by how much, its PTX, its seconds."""

    shape: Tuple[int, int, int]
    differing: int
    worst: int
    ptx: str
    seconds: float


def phase(text: str) -> None:
    """Say what is under way; the harness puts its own in this place."""


def _dot(a, b, c, M, N, K, stride_k, stride_n, BLOCK: tl.constexpr, K_MAJOR: tl.constexpr):
    ids = tl.arange(0, BLOCK)
    rows = tl.program_id(0) * BLOCK + ids
    columns = tl.program_id(1) * BLOCK + ids
    total = tl.zeros((BLOCK, BLOCK), dtype=tl.int32)
    for start in range(0, K, BLOCK):
        ks = start + ids
        inside_a = (rows[:, None] < M) & (ks[None, :] < K)
        inside_b = (ks[:, None] < K) & (columns[None, :] < N)
        at_a = a + rows[:, None] * K + ks[None, :]
        if K_MAJOR:
            at_b = b + ks[:, None] + columns[None, :] * stride_n
        else:
            at_b = b + ks[:, None] * stride_k + columns[None, :]
        tile_a = tl.load(at_a, mask=inside_a, other=0)
        tile_b = tl.load(at_b, mask=inside_b, other=0)
        total += tl.dot(tile_a, tile_b)
    inside = (rows[:, None] < M) & (columns[None, :] < N)
    tl.store(c + rows[:, None] * N + columns[None, :], total, mask=inside)


def run(request: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield an outcome a variant ("run"), or one a variant and SM ("compile")."""
    api, made = _beside("_triton"), _beside("_outcomes")
    compiling = request.get("mode") == "compile"
    places: List[Any] = [request.get("device") or 0]
    if compiling:
        places = list(request.get("sms") or PROBE["sms"])
    for variant in PROBE["variants"]:
        for place in places:
            device = ("sm_" + place.replace(".", "")) if compiling else "cuda:{}".format(place)
            fields = {"variant": variant, "device": device, "ran": not compiling}
            try:
                phase("importing triton")
                kernel = _kernel()
                work = _compiled if compiling else _ran
                yield dict(work(api, made, kernel, variant, place), **fields)
            except Exception as error:
                yield made.from_error(error, **fields)


def reference(a: Any, b: Any) -> Any:
    """Multiply int8 a (M x K) by b (K x N) in int64 on the CPU: exact for every depth."""
    return a.cpu().long() @ b.cpu().long()


def _kernel() -> Any:
    triton = importlib.import_module("triton")
    globals()["tl"] = importlib.import_module("triton.language")
    return triton.jit(_dot)


def _compiled(api: Any, made: Any, kernel: Any, variant: str, sm: str) -> Dict[str, Any]:
    phase("compiling {} for SM {}".format(variant, sm))
    constants = {"BLOCK": BLOCK, "K_MAJOR": variant == "k-major"}
    result = api.compile_ahead(kernel, TYPES, constants, sm, **OPTIONS)
    notes = [result.note] if result.note else []
    instruction = api.int8_matrix_instruction(str(result.asm["ptx"]))
    if not instruction:
        return _slow(made, "compiled", str(result.asm["ptx"]), evidence=notes)
    numbers = {"cubin_bytes": len(result.asm[result.stage])}
    path = "Triton " + instruction
    return made.outcome(
        "passed", "compiled, not run", path_taken=path, numbers=numbers, evidence=notes
    )


def _ran(_api: Any, made: Any, kernel: Any, variant: str, index: int) -> Dict[str, Any]:
    phase("importing torch")
    torch = importlib.import_module("torch")
    if not torch.cuda.is_available():
        raise made.Skipped("no-gpu", "torch.cuda.is_available() is False")
    phase("compiling and checking " + variant)
    with torch.cuda.device(int(index)):
        products = [_product(torch, kernel, variant, index, shape) for shape in SHAPES]
    outcome = judged(made, products)
    outcome["numbers"]["gpu_mib"] = _beside("_torch").gpu_mib(torch)
    return outcome


def judged(made: Any, products: List[Product]) -> Dict[str, Any]:
    """Weigh the sums, then the instruction of each product.

    Each shape may be compiled anew: Triton specializes on what 16 divides and on what is one.
    """
    find = _beside("_triton").int8_matrix_instruction
    found = [find(one.ptx) for one in products]
    numbers = {
        "max_abs_error": max(one.worst for one in products),
        "tolerance": PROBE["tolerance"],
        "differing_sums": sum(one.differing for one in products),
        "sums": sum(one.shape[0] * one.shape[2] for one in products),
        "first_launch_seconds": products[0].seconds,
    }
    path = "Triton " + " and ".join(sorted(set(filter(None, found)))) if any(found) else None
    for one in products:
        if one.differing:
            text = "{} of {} int32 sums of {} x {} x {} differ from the exact product".format(
                one.differing, one.shape[0] * one.shape[2], *one.shape
            )
            return made.outcome(
                "wrong", text, code="inexact-product", numbers=numbers, path_taken=path
            )
    if not all(found):
        slow = products[found.index("")]
        said = "exact sums, but {} x {} x {}".format(*slow.shape)
        return _slow(made, said, slow.ptx, numbers=numbers)
    text = "{} int32 sums of {} shapes are exact".format(numbers["sums"], len(products))
    return made.outcome("passed", text, numbers=numbers, path_taken=path)


def _slow(made: Any, said: str, ptx: str, **fields: Any) -> Dict[str, Any]:
    """Name the instruction that took the place of the one that was asked for."""
    text = said + " without an int8 tensor-core instruction"
    path = "Triton " + (_beside("_triton").product_instruction(ptx) or "without a known product")
    return made.outcome("wrong", text, code="silent-slow-path", path_taken=path, **fields)


def _product(
    torch: Any, kernel: Any, variant: str, index: int, shape: Tuple[int, int, int]
) -> Product:
    rows, depth, columns = shape
    a, b = _operands(torch, shape)
    device = "cuda:{}".format(index)
    right = b.t().contiguous().to(device).t() if variant == "k-major" else b.to(device)
    c = torch.full((rows, columns), -7, dtype=torch.int32, device=device)
    grid = (-(-rows // BLOCK), -(-columns // BLOCK))
    started = time.perf_counter()
    compiled = kernel[grid](
        a.to(device), right, c, rows, columns, depth, right.stride(0), right.stride(1),
        BLOCK=BLOCK, K_MAJOR=variant == "k-major", **OPTIONS,
    )  # fmt: skip
    off = (c.cpu().long() - reference(a, b)).abs()
    seconds = time.perf_counter() - started
    return Product(shape, int((off != 0).sum()), int(off.max()), str(compiled.asm["ptx"]), seconds)


def _operands(torch: Any, shape: Tuple[int, int, int]) -> Tuple[Any, Any]:
    """All of int8, and in the first half of the columns sums as large as they get."""
    rows, depth, columns = shape
    source = torch.Generator().manual_seed(8)
    a = torch.randint(-128, 128, (rows, depth), dtype=torch.int8, generator=source)
    b = torch.randint(-128, 128, (depth, columns), dtype=torch.int8, generator=source)
    a[: (rows + 1) // 2] |= 96  # 96 to 127, or -32 to -1
    b[:, : columns // 2] = a[0, :, None] | 1  # large squares, all of one sign
    return a, b


def _beside(name: str) -> Any:
    module = sys.modules.get("qdoctor_kernel_" + name)
    if module is None:
        path = Path(__file__).resolve().with_name(name + ".py")
        spec = importlib.util.spec_from_file_location("qdoctor_kernel_" + name, str(path))
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        sys.modules[spec.name] = module  # type: ignore[union-attr]
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


if __name__ == "__main__":
    raise SystemExit(_beside("_harness").by_hand(__file__))
