"""Does cuBLASLt multiply int8 by int8 into int32 here, and in which memory layouts?

``row-major`` is the plain layout of today's int8 products; COL32 with COL4_4R2_8C (Turing) and with
COL32_2R_4R4 (Ampere) are the ones that bitsandbytes' ``igemmlt`` used. Every layout computes the
same C[m, n] = sum over k of A[m, k] B[n, k], bit for bit. ``awkward`` asks the plain layout for one
row, 17 rows and sizes that are no multiple of 4, 16 or 32: each is exact or refused, and what is
refused is exact once padded. No torch: driver and library by ctypes.
"""

# ruff: noqa: ANN401, B905, BLE001 - examined modules have no types, any error is an answer,
# and Python 3.8 knows no strict zip
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import array
import importlib.util
import operator
import random
import sys
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Tuple

PROBE = {  # type: Dict[str, Any]
    "name": "cublaslt_igemm",
    "title": "cuBLASLt int8 product (igemmlt)",
    "needs": ["gpu"],
    "modes": ["run"],
    "seconds": 60,
    "memory_mib": 4096,
    "quick": True,
    "variants": ["row-major", "col4_4r2_8c", "col32_2r_4r4", "awkward"],
    "tolerance": 0.0,
    "gpu_mib": 64,
    "imports": [],
}

M, N, K = 64, 96, 160
"""Not square, so that a swapped operand shows; every |sum| is below 2**24 (K * 128 * 128); N and K
are whole panels of 32 columns, so that no layout needs more than rows * columns elements."""
AWKWARD = (
    (1, 24, 1552), (17, 24, 1540), (17, 24, 1541), (17, 25, 1536),
)  # fmt: skip
"""Rows, columns, depth: one row, 17 rows; a depth of whole 16s but not 32s, of whole 4s but not
16s, odd; odd columns. Half the sums pass 2**24. cuBLASLt documents for its int8 products: m, k and
the leading dimensions must be multiples of 4 (cuBLAS manual, cublasLtMatmul, "IMMA kernels")."""
MULTIPLE = 4
WORKSPACE = 4 << 20
TILE_ROWS = {"col32": 1, "col4_4r2_8c": 8, "col32_2r_4r4": 32}
"""Rows that one composite tile of a 32-column panel spans: its leading dimension is 32 * rows."""


def phase(text: str) -> None:
    """Say what is under way; the harness puts its own in this place."""


def run(request: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield one outcome a layout. Request: device, torch_cuda, library (the very file to use)."""
    api, made, cuda = _beside("_cublaslt"), _beside("_outcomes"), _beside("_cuda")
    index = int(request.get("device") or 0)
    fields: Dict[str, Any] = {"device": "cuda:{}".format(index)}
    try:
        device = cuda.acquire(made, index, phase)
        fields["evidence"] = ["{}, SM {}".format(device.name, device.sm)]
        phase("loading libcublasLt")
        library = api.Library(api.choose(made, request))
        fields["evidence"].append("{}, version {}".format(library.place, library.version))
    except Exception as error:
        for variant in PROBE["variants"]:
            yield made.from_error(_plain(api, made, error), variant=variant, **fields)
        return
    data = operands()
    wanted = reference(*data)
    for variant in PROBE["variants"][:-1]:
        yield _one(api, made, (device, library), (variant, data, wanted), fields)
    yield _awkward(api, made, (device, library), dict(fields, variant="awkward"))


def operands() -> Tuple[List[int], List[int]]:
    """Return A (M x K) and B (N x K), row by row, over the whole range of int8; always the same."""
    draw = random.Random(8)  # noqa: S311 - reproducible, not secret
    a, b = ([draw.randrange(-128, 128) for _ in range(rows * K)] for rows in (M, N))
    return a, b


def reference(a: Sequence[int], b: Sequence[int], depth: int = K) -> List[int]:
    """Compute C row by row in Python's own integers; both operands have rows of ``depth``."""
    rows_a, rows_b = (
        [data[start : start + depth] for start in range(0, len(data), depth)] for data in (a, b)
    )
    return [sum(map(operator.mul, row, other)) for row in rows_a for other in rows_b]


def large_operands(shape: Tuple[int, int, int]) -> Tuple[List[int], List[int]]:
    """Return A and B for rows, columns, depth; the sums of every other column pass 2**24."""
    rows, columns, depth = shape
    draw = random.Random(8)  # noqa: S311 - reproducible, not secret
    a = draw.choices(range(100, 128), k=rows * depth)  # many at once: one by one they take longer
    lows = [100 if column % 2 else -128 for column in range(columns)]  # than all the products
    return a, [one for low in lows for one in draw.choices(range(low, 128), k=depth)]


def _one(
    api: Any,
    made: Any,
    place: Tuple[Any, Any],
    case: Tuple[str, Tuple[List[int], List[int]], List[int]],
    fields: Dict[str, Any],
) -> Dict[str, Any]:
    device, library = place
    variant, data, wanted = case
    fields = dict(fields, variant=variant)
    try:
        phase("multiplying " + variant)
        got, path, seconds = _multiply(api, made, (device, library), variant, data)
    except Exception as error:
        return made.from_error(_plain(api, made, error), **fields)
    finally:
        device.free()
    fields["path_taken"] = path
    worst = max(abs(x - y) for x, y in zip(got, wanted))
    fields["numbers"] = {
        "max_abs_error": worst,
        "tolerance": PROBE["tolerance"],
        "milliseconds": seconds * 1000,
        "gpu_mib": device.most_held / (1 << 20),
    }
    if worst:
        count = sum(x != y for x, y in zip(got, wanted))
        detail = "{} of {} sums differ, the worst by {}".format(count, len(wanted), worst)
        return made.outcome("wrong", detail, code="wrong-value", **fields)
    if "int32" not in path:
        detail = "exact here, but the sums are not kept in int32: " + path
        return made.outcome("wrong", detail, code="silent-slow-path", **fields)
    return made.outcome("passed", "{} sums, bit for bit".format(len(wanted)), **fields)


def _multiply(
    api: Any,
    made: Any,
    place: Tuple[Any, Any],
    variant: str,
    data: Tuple[List[int], List[int]],
) -> Tuple[List[int], str, float]:
    """Compute C in the variant's layout: (C row by row, the instructions used, seconds)."""
    if variant == "row-major":
        return _multiply_plain(api, made, place, (M, N, K), data)
    device, library = place
    blocks = [device.put(array.array("b", values).tobytes()) for values in data]
    left = _tiled(api, place, "col32", M, blocks[0])
    right = _tiled(api, place, variant, N, blocks[1])
    result = (_layout(library, "col32", api.R_32I, (M, N)), device.empty(4 * M * N))
    product = library.product(api.OP_N, api.OP_T)
    path, seconds = _launch(made, place, (variant, product), (left, right, result))
    plain = device.empty(4 * M * N)
    library.transform(result, (library.layout(api.R_32I, "row", M, N, N), plain))
    return _sums(device, plain, M * N), path, seconds


def _multiply_plain(
    api: Any,
    made: Any,
    place: Tuple[Any, Any],
    shape: Tuple[int, int, int],
    data: Tuple[List[int], List[int]],
) -> Tuple[List[int], str, float]:
    """Compute C of rows, columns, depth without copies: (C row by row, instructions, seconds).

    Row-major M x K is column-major K x M: C' = B' A needs op(B) = T.
    """
    device, library = place
    rows, columns, depth = shape
    blocks = [device.put(array.array("b", values).tobytes()) for values in data]
    left = (library.layout(api.R_8I, "col", depth, columns, depth), blocks[1])
    right = (library.layout(api.R_8I, "col", depth, rows, depth), blocks[0])
    block = device.empty(4 * rows * columns)
    result = (library.layout(api.R_32I, "col", columns, rows, columns), block)
    product = library.product(api.OP_T, api.OP_N)
    path, seconds = _launch(made, place, ("row-major", product), (left, right, result))
    return _sums(device, block, rows * columns), path, seconds


def _launch(
    made: Any, place: Tuple[Any, Any], named: Tuple[str, Any], matrices: Tuple[Any, ...]
) -> Tuple[str, float]:
    """Multiply twice, timing the second: (the layout and the instructions used, seconds)."""
    device, library = place
    variant, product = named
    algorithm = library.heuristic(product, [layout for layout, _ in matrices], WORKSPACE)
    if algorithm is None:
        text = "cuBLASLt has no algorithm for int8 {} on SM {}".format(variant, device.sm)
        raise made.Refused("no-algorithm", text)
    operands = dict(zip("abc", matrices))
    workspace = (device.empty(WORKSPACE), WORKSPACE)
    library.multiply(product, operands, algorithm, workspace)  # the first launch also loads code
    device.synchronize()
    started = time.perf_counter()
    library.multiply(product, operands, algorithm, workspace)
    device.synchronize()
    seconds = time.perf_counter() - started
    return "{} {}, {} sums".format(variant, *library.implementation(algorithm)), seconds


def _sums(device: Any, block: Any, count: int) -> List[int]:
    return array.array("i", device.get(block, 4 * count)).tolist()


# Awkward sizes


def _awkward(api: Any, made: Any, place: Tuple[Any, Any], fields: Dict[str, Any]) -> Dict[str, Any]:
    """Judge the plain layout over AWKWARD: exact or refused, and exact once padded."""
    notes: List[str] = []
    counts = {"exact": 0, "refused": 0, "differing": 0}
    paths: List[str] = []
    try:
        for shape in AWKWARD:
            phase("multiplying {} rows, {} columns, depth {}".format(*shape))
            notes.append(_awkward_one(api, made, place, shape, (counts, paths)))
    except Exception as error:
        fields["evidence"] = fields["evidence"] + notes
        return made.from_error(_plain(api, made, error), **fields)
    fields["evidence"] = fields["evidence"] + notes
    fields["path_taken"] = "; ".join(sorted(set(paths)))
    fields["numbers"] = dict(
        counts, max_abs_error=0, tolerance=0, gpu_mib=place[0].most_held / (1 << 20)
    )
    if counts["differing"]:
        del fields["numbers"]["max_abs_error"]
        return made.outcome("wrong", "; ".join(notes), code="wrong-value", **fields)
    if any("int32" not in path for path in paths):
        detail = "exact here, but the sums are not kept in int32: " + fields["path_taken"]
        return made.outcome("wrong", detail, code="silent-slow-path", **fields)
    detail = "{exact} of {0} sizes exact as they are, {refused} refused and exact once padded"
    return made.outcome("passed", detail.format(len(AWKWARD), **counts), **fields)


def _awkward_one(
    api: Any,
    made: Any,
    place: Tuple[Any, Any],
    shape: Tuple[int, int, int],
    found: Tuple[Dict[str, int], List[str]],
) -> str:
    """Multiply one awkward size, padded where it is refused; say in words how that went."""
    counts, paths = found
    named = "{} x {} x {}".format(*shape)
    data = large_operands(shape)
    wanted = reference(*data, depth=shape[2])
    try:
        got, path, _ = _multiply_plain(api, made, place, shape, data)
        how = "exact"
    except made.Refused:
        if not any(size % MULTIPLE for size in shape[1:]):
            raise  # it is of the documented sizes
        counts["refused"] += 1
        got, path = _padded(api, made, place, shape, data)
        how = "refused, exact padded to whole {}s".format(MULTIPLE)
    finally:
        place[0].free()
    differing = sum(x != y for x, y in zip(got, wanted))
    counts["exact"] += how == "exact" and not differing
    counts["differing"] += differing
    paths.append(path)
    if differing:
        return "{}: {} of {} sums differ ({})".format(named, differing, len(wanted), how)
    return "{}: {}".format(named, how)


def _padded(
    api: Any,
    made: Any,
    place: Tuple[Any, Any],
    shape: Tuple[int, int, int],
    data: Tuple[List[int], List[int]],
) -> Tuple[List[int], str]:
    """Multiply with zeros added up to whole 4s: (the sums that were asked for, instructions)."""
    rows, columns, depth = shape
    wide, deep = (-(-size // MULTIPLE) * MULTIPLE for size in (columns, depth))
    filled = [
        value
        for matrix, count in zip(data, (rows, columns))
        for row in range(count)
        for value in (*matrix[row * depth : row * depth + depth], *[0] * (deep - depth))
    ]
    left, right = filled[: rows * deep], filled[rows * deep :] + [0] * ((wide - columns) * deep)
    got, path, _ = _multiply_plain(api, made, place, (rows, wide, deep), (left, right))
    return [got[row * wide + column] for row in range(rows) for column in range(columns)], path


def _tiled(api: Any, place: Tuple[Any, Any], order: str, rows: int, plain: Any) -> Tuple[Any, Any]:
    """Copy a plain row-major rows x K matrix into a tiled order: (layout, block)."""
    device, library = place
    layout = _layout(library, order, api.R_8I, (rows, K))
    span = -(-rows // TILE_ROWS[order]) * TILE_ROWS[order]
    block = device.empty(span * -(-K // 32) * 32)
    library.transform((library.layout(api.R_8I, "row", rows, K, K), plain), (layout, block))
    return layout, block


def _layout(library: Any, order: str, kind: int, shape: Tuple[int, int]) -> Any:
    span = -(-shape[0] // TILE_ROWS[order]) * TILE_ROWS[order]
    return library.layout(kind, order, shape[0], shape[1], 32 * span)


def _plain(api: Any, made: Any, error: BaseException) -> BaseException:
    """Name the refusals and shortages of memory that hide in status codes."""
    cuda = _beside("_cuda")
    if isinstance(error, cuda.DriverError):
        return cuda.plain(made, error)
    status = getattr(error, "status", None)
    if isinstance(error, api.LibraryError) and status == api.NOT_SUPPORTED:
        return made.Refused("no-algorithm", str(error))
    if isinstance(error, api.LibraryError) and status == api.ALLOC_FAILED:
        return MemoryError(str(error))
    return error


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
