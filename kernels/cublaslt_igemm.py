"""Does cuBLASLt multiply int8 by int8 into int32 here, and in which memory layouts?

``row-major`` is the plain layout of today's int8 products; COL32 with COL4_4R2_8C (Turing) and with
COL32_2R_4R4 (Ampere) are the ones that bitsandbytes' ``igemmlt`` used. Every layout computes the
same C[m, n] = sum over k of A[m, k] B[n, k], bit for bit. No torch: driver and library by ctypes.
"""

# ruff: noqa: ANN401, B905, BLE001 - examined modules have no types, any error is an answer,
# and Python 3.8 knows no strict zip
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import array
import importlib.util
import os
import random
import re
import sys
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

PROBE = {  # type: Dict[str, Any]
    "name": "cublaslt_igemm",
    "title": "cuBLASLt int8 product (igemmlt)",
    "needs": ["gpu"],
    "modes": ["run"],
    "seconds": 60,
    "memory_mib": 4096,
    "quick": True,
    "variants": ["row-major", "col4_4r2_8c", "col32_2r_4r4"],
    "tolerance": 0.0,
}

M, N, K = 64, 96, 160
"""Not square, so that a swapped operand shows; every |sum| is below 2**24 (K * 128 * 128); N and K
are whole panels of 32 columns, so that no layout needs more than rows * columns elements."""
WORKSPACE = 4 << 20
TILE_ROWS = {"col32": 1, "col4_4r2_8c": 8, "col32_2r_4r4": 32}
"""Rows that one composite tile of a 32-column panel spans: its leading dimension is 32 * rows."""


def phase(text: str) -> None:
    """Say what is under way; the harness puts its own in this place."""


def run(request: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield one outcome a layout. Request: device, torch_cuda, library (the very file to use)."""
    api, made = _beside("_cublaslt"), _beside("_outcomes")
    index = int(request.get("device") or 0)
    fields: Dict[str, Any] = {"device": "cuda:{}".format(index)}
    try:
        device = _device(api, made, index)
        fields["evidence"] = ["{}, SM {}".format(device.name, device.sm)]
        phase("loading libcublasLt")
        library = api.Library(choose(api, made, request))
        fields["evidence"].append("{}, version {}".format(library.place, library.version))
    except Exception as error:
        for variant in PROBE["variants"]:
            yield made.from_error(_plain(api, made, error), variant=variant, **fields)
        return
    data = operands()
    wanted = reference(*data)
    for variant in PROBE["variants"]:
        yield _one(api, made, (device, library), (variant, data, wanted), fields)


def operands() -> Tuple[List[int], List[int]]:
    """Return A (M x K) and B (N x K), row by row, over the whole range of int8; always the same."""
    draw = random.Random(8)  # noqa: S311 - reproducible, not secret
    a, b = ([draw.randrange(-128, 128) for _ in range(rows * K)] for rows in (M, N))
    return a, b


def reference(a: Sequence[int], b: Sequence[int]) -> List[int]:
    """Compute C row by row in Python's own integers."""
    rows_a = [a[i * K : i * K + K] for i in range(M)]
    rows_b = [b[i * K : i * K + K] for i in range(N)]
    return [sum(x * y for x, y in zip(row, other)) for row in rows_a for other in rows_b]


def choose(api: Any, made: Any, request: Dict[str, Any]) -> str:
    """Find the libcublasLt that the examined interpreter would load: its wheels, then the loader.

    Raises Refused: library-missing, or wrong-major when there are only others than torch's CUDA
    (else what bitsandbytes' own files) ask for.
    """
    if request.get("library"):
        if not Path(request["library"]).exists():
            raise made.Refused("library-missing", "no such file: " + request["library"])
        return str(request["library"])
    folders = [path or os.curdir for path in request.get("search", sys.path)]
    wanted, why = wanted_majors(request, folders)
    shipped = api.in_packages(folders)
    newest = sorted((found.major or 0 for found in shipped), reverse=True)
    for major in wanted or newest:
        fitting = [found for found in shipped if found.major == major]
        for found in fitting or api.by_loader([major]):
            return str(found.place)
    others = shipped or api.by_loader(range(20, 8, -1))
    if not others:
        place = "the nvidia wheels and torch/lib on sys.path, then the dynamic loader"
        raise made.Refused("library-missing", "no libcublasLt{} in {}".format(why, place))
    if not wanted:
        return str(others[0].place)
    there = ", ".join(sorted({found.place for found in others}))
    raise made.Refused("wrong-major", "no libcublasLt{}; found only {}".format(why, there))


def wanted_majors(request: Dict[str, Any], folders: Sequence[str]) -> Tuple[List[int], str]:
    """CUDA majors that fit, preferred first, and the words that say why; [] when nothing asks."""
    cuda = request.get("torch_cuda")
    if cuda is None:
        cuda = _torch_cuda(folders)
    if cuda:
        return [int(cuda.split(".")[0])], " of CUDA {} (torch is built for {})".format(
            cuda.split(".")[0], cuda
        )
    majors: List[int] = []
    for folder in folders:
        for path in Path(folder, "bitsandbytes").glob("libbitsandbytes_cuda*"):
            match = re.match(r"libbitsandbytes_cuda(\d+)\d(_nocublaslt)?\.", path.name)
            majors += [int(match.group(1))] if match else []
    ordered = sorted(set(majors), reverse=True)
    words = " of CUDA {} (bitsandbytes' libraries)".format(" or ".join(map(str, ordered)))
    return ordered, words if ordered else ""


def _torch_cuda(folders: Sequence[str]) -> Optional[str]:
    """Read torch's CUDA from torch/version.py, without importing torch; ``""``: a CPU build."""
    for folder in folders:
        try:
            text = Path(folder, "torch", "version.py").read_text(encoding="utf-8")
        except OSError:
            continue
        match = re.search(r"^cuda\b[^=]*= *['\"]([\d.]+)['\"]", text, re.MULTILINE)
        return match.group(1) if match else ""
    return None


def _device(api: Any, made: Any, index: int) -> Any:
    phase("loading the CUDA driver")
    try:
        driver = api.open_driver()
    except OSError as error:
        raise made.Skipped("no-gpu", "no CUDA driver: {}".format(error)) from None
    phase("opening device {}".format(index))
    try:
        return api.Device(driver, index)
    except api.DriverError as error:
        if error.status in (api.NO_DEVICE, api.INVALID_DEVICE):
            raise made.Skipped("no-gpu", "no CUDA device {}: {}".format(index, error)) from None
        raise


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
    device, library = place
    blocks = [device.put(array.array("b", values).tobytes()) for values in data]
    if variant == "row-major":
        # Row-major M x K is column-major K x M: C' = B' A needs op(B) = T and no copies.
        left = (library.layout(api.R_8I, "col", K, N, K), blocks[1])
        right = (library.layout(api.R_8I, "col", K, M, K), blocks[0])
        result = (library.layout(api.R_32I, "col", N, M, N), device.empty(4 * M * N))
        product = library.product(api.OP_T, api.OP_N)
    else:
        left = _tiled(api, place, "col32", M, blocks[0])
        right = _tiled(api, place, variant, N, blocks[1])
        result = (_layout(library, "col32", api.R_32I, (M, N)), device.empty(4 * M * N))
        product = library.product(api.OP_N, api.OP_T)
    operands = {"a": left, "b": right, "c": result}
    layouts = [left[0], right[0], result[0]]
    algorithm = library.heuristic(product, layouts, WORKSPACE)
    if algorithm is None:
        text = "cuBLASLt has no algorithm for int8 {} on SM {}".format(variant, device.sm)
        raise made.Refused("no-algorithm", text)
    workspace = (device.empty(WORKSPACE), WORKSPACE)
    library.multiply(product, operands, algorithm, workspace)  # the first launch also loads code
    device.synchronize()
    started = time.perf_counter()
    library.multiply(product, operands, algorithm, workspace)
    device.synchronize()
    seconds = time.perf_counter() - started
    plain = result[1]
    if variant != "row-major":
        plain = device.empty(4 * M * N)
        library.transform(result, (library.layout(api.R_32I, "row", M, N, N), plain))
    got = array.array("i", device.get(plain, 4 * M * N)).tolist()
    path = "{} {}, {} sums".format(variant, *library.implementation(algorithm))
    return got, path, seconds


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
    status = getattr(error, "status", None)
    if isinstance(error, api.LibraryError) and status == api.NOT_SUPPORTED:
        return made.Refused("no-algorithm", str(error))
    starved = (api.DriverError, api.OUT_OF_MEMORY), (api.LibraryError, api.ALLOC_FAILED)
    if any(isinstance(error, kind) and status == code for kind, code in starved):
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
