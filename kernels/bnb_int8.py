"""Does the installed bitsandbytes multiply int8 exactly and in int8, and is its layer right?

``matmul`` is the release's own product: ``int8_linear_matmul`` on row-major data, else ``igemmlt``
on the tiled layouts that older releases want; bit for bit against exact sums that float32 could not
hold. ``matmul-odd-k`` is the same with a depth that is no multiple of 4, where releases with
``int8_linear_matmul`` multiply in float32 on a GPU (0.50.2: backends/cuda/ops.py, `lda % 4 != 0`).
``linear`` and ``linear-outliers`` are ``Linear8bitLt`` forwards against float64, without and with
the decomposition of LLM.int8() (arXiv 2208.07339): columns with values of 6 and more stay in half.
"""

# ruff: noqa: ANN401, BLE001 - examined modules have no types, and any error is an answer
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

PROBE = {  # type: Dict[str, Any]
    "name": "bnb_int8",
    "title": "bitsandbytes int8 product and Linear8bitLt",
    "needs": ["torch", "bitsandbytes"],
    "modes": ["run"],
    "seconds": 180,
    "memory_mib": 12288,
    "gpu_mib": 64,
    "imports": ["torch", "bitsandbytes"],
    "quick": False,
    "variants": ["matmul", "linear", "linear-outliers", "matmul-odd-k"],
    "tolerance": 0.015,
}

TOLERANCE = 0.015
"""Relative error of the layer on Gaussian data. Rounding a row to 127 steps of its largest value
(3 to 4 standard deviations) errs by about 3.5 / 127 / sqrt(12) = 0.008 an operand, 0.012 for two;
half precision adds 0.0003. The sums themselves are allowed no error."""
EXACT = ((65, 4096, 130), (1, 1280, 512), (17, 1208, 300), (33, 1204, 65), (31, 1232, 127))
"""Rows, depth, columns: the depth a multiple of 32, 8, 4 and 16 and of no more; one row; 17 rows;
odd rows and columns. 1204 products of 120 to 127 sum past 2**24: float32 could not be exact."""
EXACT_ODD = ((17, 1203, 64), (5, 1202, 33))
LAYERS = ((256, 1024, 768), (1, 1280, 512), (17, 1000, 300), (33, 76, 65))
THRESHOLD = 6.0
OUTLIER = 40.0
"""With threshold 0 such a column makes the steps of its row ten times as wide: the error is then
about 0.04, so that a decomposition that does not happen is noticed."""
CHECKED_ROWS = 64


def phase(text: str) -> None:
    """Say what is under way; the harness puts its own in this place."""


def run(request: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield one outcome a variant, of the GPU asked for or of the CPU."""
    made, bnb, api = _beside("_outcomes"), _beside("_bnb"), _beside("_torch")
    bodies = (
        ("matmul", _on_a_gpu(_matmul(EXACT))),
        ("linear", _linear(0.0)),
        ("linear-outliers", _linear(THRESHOLD)),
        ("matmul-odd-k", _on_a_gpu(_matmul(EXACT_ODD))),
    )
    for variant, body in bodies:
        fields: Dict[str, Any] = {"variant": variant}
        try:
            phase("importing torch")
            torch = importlib.import_module("torch")
            api.keep_small()
            index = int(request.get("device") or 0)
            fields["device"], fields["evidence"] = api.device(torch, index)
            phase("importing bitsandbytes")
            module = bnb.imported(made)
            phase(variant)
            torch.manual_seed(8)
            with torch.no_grad(), api.current(torch, fields["device"]):
                yield body(made, torch, module, fields)
        except (Exception, SystemExit) as error:
            yield made.from_error(error, **fields)


def reference(a: Any, b: Any) -> Any:
    """Multiply a by b transposed in float64, which holds sums of int8 products exactly."""
    return a.double() @ b.double().t()


# The product


def _on_a_gpu(body: Callable[..., Dict[str, Any]]) -> Callable[..., Dict[str, Any]]:
    def checked(made: Any, torch: Any, module: Any, fields: Dict[str, Any]) -> Dict[str, Any]:
        if fields["device"] == "cpu":
            text = "no fast int8 product is promised on CPUs; there the layer is examined"
            raise made.Skipped("no-gpu", text)
        return body(made, torch, module, fields)

    return checked


def _matmul(shapes: Tuple[Tuple[int, int, int], ...]) -> Callable[..., Dict[str, Any]]:
    def body(made: Any, torch: Any, module: Any, fields: Dict[str, Any]) -> Dict[str, Any]:
        bnb, where = _beside("_bnb"), fields["device"]
        name, product = _product(made, module)
        with bnb.noted_calls() as calls:
            results = [product(*_operands(torch, shape, where)) for shape in shapes]
        differing = 0
        a, b = _operands(torch, shapes[0], where)
        fields["path_taken"] = bnb.with_product(
            _beside("_traced"), torch, where, "{}: {}".format(name, bnb.called(calls)),
            lambda: product(a, b),
        )  # fmt: skip
        torch.manual_seed(8)  # the same operands once more
        for shape, result in zip(shapes, results):  # noqa: B905 - Python 3.8
            other = bnb.not_kept(torch, result, where, torch.int32)
            if other:
                return made.outcome("wrong", other, code="silent-slow-path", **fields)
            wanted = reference(*_operands(torch, shape, "cpu"))
            differing += int((result.cpu().double() != wanted).sum())
        return _exact(made, calls, differing, shapes, fields)

    return body


def _exact(
    made: Any,
    calls: Dict[str, int],
    differing: int,
    shapes: Tuple[Tuple[int, int, int], ...],
    fields: Dict[str, Any],
) -> Dict[str, Any]:
    """Judge the sums and the path: each product must have gone through cuBLASLt."""
    sums = sum(rows * columns for rows, _depth, columns in shapes)
    fields["numbers"] = {"sums": sums, "differing": differing, "tolerance": 0.0}
    slow = past_cublaslt(calls, len(shapes))
    if slow:
        text = "{}; {} of {} sums are not exact".format(slow, differing, sums)
        return made.outcome("wrong", text, code="silent-slow-path", **fields)
    if differing:
        text = "{} of {} int32 sums differ from the exact product".format(differing, sums)
        return made.outcome("wrong", text, code="inexact-product", **fields)
    return made.outcome("passed", "{} sums past 2**24, bit for bit".format(sums), **fields)


def past_cublaslt(calls: Dict[str, int], wanted: int) -> Optional[str]:
    """Say how many of the ``wanted`` products were not given to cuBLASLt; None if all were."""
    through = sum(count for name, count in calls.items() if name.startswith("cigemmlt"))
    if through >= wanted:
        return None
    return "{} of {} products were not given to cuBLASLt (cigemmlt*)".format(
        wanted - through, wanted
    )


def in_floats(path: str) -> bool:
    """Say whether cuBLASLt's log, as it stands in a path, names a floating-point product."""
    return bool(_beside("_traced").FLOATING.search(path))


def _product(made: Any, module: Any) -> Tuple[str, Callable[[Any, Any], Any]]:
    """Find the release's int8 product of a (M x K) and b (N x K): its name, and how to call it."""
    functional = module.functional
    if hasattr(functional, "int8_linear_matmul"):
        return "int8_linear_matmul", functional.int8_linear_matmul
    if not hasattr(functional, "igemmlt"):
        raise made.Skipped("not-shipped", "this bitsandbytes has no int8 product")
    order = functional.get_special_format_str()

    def tiled(a: Any, b: Any) -> Any:
        left, left_state = functional.transform(a, "col32")
        right, right_state = functional.transform(b, order)
        found = functional.igemmlt(left, right, left_state, right_state)
        result = found[0] if isinstance(found, tuple) else found
        return from_col32(result, a.shape[0], b.shape[0]) if hasattr(result, "view") else result

    return "igemmlt ({})".format(order), tiled


def from_col32(tiled: Any, rows: int, columns: int) -> Any:
    """Read a matrix in cuBLASLt's COL32 order: tiles of 32 columns, in each row after row."""
    tiles = -(-columns // 32)
    plain = tiled.reshape(-1)[: tiles * rows * 32].view(tiles, rows, 32)
    return plain.permute(1, 0, 2).reshape(rows, tiles * 32)[:, :columns]


def _operands(torch: Any, shape: Tuple[int, int, int], where: str) -> Tuple[Any, Any]:
    rows, depth, columns = shape
    a = torch.randint(120, 128, (rows, depth), dtype=torch.int8)
    b = torch.randint(-128, 128, (columns, depth), dtype=torch.int8)
    half = columns // 2
    b[:half] = torch.randint(120, 128, (half, depth), dtype=torch.int8)  # they sum past 2**24
    return a.to(where), b.to(where)


# The layer


def _linear(threshold: float) -> Callable[..., Dict[str, Any]]:
    def body(made: Any, torch: Any, module: Any, fields: Dict[str, Any]) -> Dict[str, Any]:
        bnb, where = _beside("_bnb"), fields["device"]
        errors: List[float] = []
        with bnb.noted_calls() as calls:
            for shape in LAYERS:
                x, weight, bias = _data(torch, shape, threshold, where)
                got = _layer(torch, module, (weight, bias), threshold, where)(x)
                other = bnb.not_kept(torch, got, where, x.dtype)
                if other:
                    return made.outcome("wrong", other, code="silent-slow-path", **fields)
                errors.append(bnb.relative_error(got, bnb.product(x, weight, bias)))
        fields["path_taken"] = "Linear8bitLt: " + bnb.called(calls)
        fields["numbers"] = {
            "rel_error": errors[0], "max_rel_error": bnb.largest(errors), "tolerance": TOLERANCE,
        }  # fmt: skip
        slow = past_cublaslt(calls, len(LAYERS)) if where != "cpu" else None
        if slow:
            return made.outcome("wrong", slow, code="silent-slow-path", **fields)
        phase("timing on " + where)
        _time(torch, module, threshold, fields)
        if where != "cpu" and in_floats(fields["path_taken"]):
            text = "cuBLASLt was called, but what multiplied was floating-point"
            return made.outcome("wrong", text, code="silent-slow-path", **fields)
        return _judged(made, fields)

    return body


def _judged(made: Any, fields: Dict[str, Any]) -> Dict[str, Any]:
    numbers = fields["numbers"]
    worst = max(numbers["max_rel_error"], numbers["timed_rel_error"])
    detail = "relative error {:.4f} against float64, at most {} allowed".format(worst, TOLERANCE)
    if numbers["max_rel_error"] <= TOLERANCE and numbers["timed_rel_error"] <= TOLERANCE:
        return made.outcome("passed", detail, **fields)
    return made.outcome("wrong", detail, code="wrong-value", **fields)  # NaN too


def _layer(torch: Any, module: Any, values: Tuple[Any, Any], threshold: float, where: str) -> Any:
    """Make a Linear8bitLt of a half-precision weight and bias, as a model's weights are loaded."""
    weight, bias = values
    layer = module.nn.Linear8bitLt(
        weight.shape[1], weight.shape[0], bias=True, has_fp16_weights=False, threshold=threshold
    )
    layer.weight.data = weight
    layer.bias.data = bias
    return layer.to(torch.device(where)).eval()


def _data(torch: Any, shape: Tuple[int, int, int], threshold: float, where: str) -> Tuple[Any, ...]:
    """Make Gaussian x, weight and bias in half; x with three planted outlier columns if asked."""
    rows, depth, columns = shape
    x, weight, bias = (
        torch.randn(size).half() for size in ((rows, depth), (columns, depth), (columns,))
    )
    if threshold:
        for column in (3, depth // 2, depth - 1):
            x[:, column] = OUTLIER * (torch.randint(0, 2, (rows,)) * 2 - 1).half()
    return x.to(where), weight, bias


def _time(torch: Any, module: Any, threshold: float, fields: Dict[str, Any]) -> None:
    """Time the forward on the product that all are timed on; check some of its rows as well."""
    api, bnb, where = _beside("_torch"), _beside("_bnb"), fields["device"]
    shape = api.timed_shape(where)
    x, weight, bias = _data(torch, shape, threshold, where)
    layer = _layer(torch, module, (weight, bias), threshold, where)
    wanted = bnb.product(x[:CHECKED_ROWS], weight, bias)
    error = bnb.relative_error(layer(x)[:CHECKED_ROWS], wanted)
    taken = api.timed_on(torch, where, lambda: layer(x))
    fields["numbers"].update(milliseconds=taken, timed_rel_error=error, gpu_mib=api.gpu_mib(torch))
    fields["numbers"].update(api.shape_numbers(shape))
    fields["path_taken"] = bnb.with_product(
        _beside("_traced"), torch, where, fields["path_taken"], lambda: layer(x)
    )


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
