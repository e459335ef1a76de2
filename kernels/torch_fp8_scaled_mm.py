"""Does torch._scaled_mm multiply fp8 (e4m3) by fp8 into bfloat16 here, and how exact and fast?

``tensorwise`` has one scale for each operand, ``rowwise`` one for each row of both. The product is
held against float64 of the very operands, dequantized; ``rel_error`` is against the float64 product
of the Gaussian data that was quantized: what a layer would lose. A GPU without fp8, or a torch
without the row-wise form, answers in its own words.
"""

# ruff: noqa: ANN401, BLE001 - examined modules have no types, and any error is an answer
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

PROBE = {  # type: Dict[str, Any]
    "name": "torch_fp8_scaled_mm",
    "title": "torch._scaled_mm (fp8 product)",
    "imports": ["torch"],
    "needs": ["torch"],
    "modes": ["run"],
    "seconds": 120,
    "memory_mib": 12288,
    "gpu_mib": 64,
    "quick": False,
    "variants": ["tensorwise", "rowwise"],
    "tolerance": 0.006,
}

TOLERANCE = 0.006
"""Relative error against float64 of the dequantized operands: half a unit in the last place of a
bfloat16 result is 2**-9 = 0.002 at most, 0.0017 in the mean of squares; the rest is for sums that
Hopper's fp8 units keep in some 14 bits (DeepSeek-V3 report, arXiv:2412.19437, section 3.3.2)."""
PLAIN = (256, 1024, 512)
AWKWARD = ((1, 1280, 512), (17, 1024, 304), (17, 1000, 300), (33, 77, 65))
"""Rows, depth, columns: one row; 17 rows; a depth and columns of whole 4s; odd everywhere."""
MULTIPLE = 16
"""Depth and columns that torch asks for (its own refusal says so); the probe pads up to that."""


def phase(text: str) -> None:
    """Say what is under way; the harness puts its own in this place."""


def run(request: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield one outcome a variant, of the GPU asked for or of the CPU."""
    made, api = _beside("_outcomes"), _beside("_torch")
    fields: Dict[str, Any] = {}
    try:
        phase("importing torch")
        torch = importlib.import_module("torch")
        api.keep_small()
        device, why = api.device(torch, int(request.get("device") or 0))
        fields.update(device=device, evidence=why)
        if not (hasattr(torch, "_scaled_mm") and hasattr(torch, "float8_e4m3fn")):
            text = "torch {} has no _scaled_mm".format(torch.__version__)
            raise made.Skipped("not-shipped", text)  # noqa: TRY301 - told like any other
    except Exception as error:
        for variant in PROBE["variants"]:
            yield made.from_error(error, **dict(fields, variant=variant))
        return
    for variant in PROBE["variants"]:
        known = dict(fields, variant=variant, evidence=list(why))
        try:
            torch.manual_seed(8)
            with api.current(torch, device):
                yield _judged(made, torch, device, known)
        except Exception as error:
            yield made.from_error(error, **known)


def quantize(torch: Any, x: Any, variant: str) -> Tuple[Any, Any]:
    """Quantize x (rows x depth) to e4m3: (the values, float32 scales), x about values * scales.

    The largest magnitude of the tensor, or of each row, becomes 448, the largest e4m3 number.
    """
    largest = torch.finfo(torch.float8_e4m3fn).max
    most = x.abs().amax(dim=1, keepdim=True) if variant == "rowwise" else x.abs().amax()
    scale = most.float().clamp(min=1e-12) / largest
    scaled = x.float().div_(scale).clamp_(-largest, largest)  # in place: it is the largest there is
    return scaled.to(torch.float8_e4m3fn), scale


def multiply(torch: Any, a: Tuple[Any, Any], b: Tuple[Any, Any]) -> Any:
    """Multiply quantized rows of a by quantized rows of b: bfloat16."""
    scale_b = b[1].t() if b[1].dim() else b[1]
    got = torch._scaled_mm(  # noqa: SLF001 - the one that is examined
        a[0], b[0].t(), scale_a=a[1], scale_b=scale_b, out_dtype=torch.bfloat16
    )
    return got[0] if isinstance(got, tuple) else got  # older releases give (result, amax)


def reference(a: Any, b: Any) -> Any:
    """Compute a times b transposed in float64."""
    return a.double() @ b.double().t()


def _judged(made: Any, torch: Any, device: str, fields: Dict[str, Any]) -> Dict[str, Any]:
    api, variant = _beside("_torch"), fields["variant"]
    phase("multiplying {} on {}".format(variant, device))
    x, weight = _operands(torch, PLAIN, device)
    a, b = quantize(torch, x, variant), quantize(torch, weight, variant)
    got = multiply(torch, a, b)
    errors = [_error(got, _dequantized(a, b))]
    lost = _error(got, reference(x, weight))
    notes, refused = _awkward(torch, device, variant, errors)
    phase("timing on " + device)
    times = _times(torch, device, variant)
    phase("asking which kernel multiplied")
    path, why = _beside("_traced").product(torch, device, lambda: multiply(torch, a, b))
    notes += why
    worst = max(errors, key=lambda one: (one != one, one))  # noqa: PLR0124 - NaN is the worst
    fields["evidence"] = [*fields["evidence"], *notes]
    fields["path_taken"] = "torch._scaled_mm {} on {}".format(variant, path)
    fields["numbers"] = {
        "rel_error": lost, "max_rel_error": worst, "tolerance": TOLERANCE, "refused": refused,
        **times, "gpu_mib": api.gpu_mib(torch),
    }  # fmt: skip
    detail = "relative error {:.5f} against float64 of the same operands, at most {} allowed; {}"
    detail = detail.format(worst, TOLERANCE, "{:.3f} lost by quantizing".format(lost))
    if got.dtype != torch.bfloat16 or str(got.device) != device:
        text = "the result is {} on {}".format(got.dtype, got.device)
        return made.outcome("wrong", text, code="silent-slow-path", **fields)
    if worst <= TOLERANCE:  # False for NaN
        return made.outcome("passed", detail, **fields)
    return made.outcome("wrong", detail, code="wrong-value", **fields)


def _awkward(torch: Any, device: str, variant: str, errors: List[float]) -> Tuple[List[str], int]:
    """Multiply AWKWARD, padded where it is refused: (what happened, how many were refused)."""
    notes, refused = [], 0
    for shape in AWKWARD:
        x, weight = _operands(torch, shape, device)
        a, b = quantize(torch, x, variant), quantize(torch, weight, variant)
        named = "{} x {} x {}: ".format(*shape)
        try:
            got, how = multiply(torch, a, b), "as it is"
        except (RuntimeError, ValueError) as error:
            if _beside("_outcomes").from_error(error)["outcome"] == "skipped":
                raise  # the machine's shortage, not a refusal
            refused += 1
            how = "refused ({}), padded".format(" ".join(str(error).split("\n")[0].split()))
            got = _padded(torch, a, b)
        errors.append(_error(got, _dequantized(a, b)))
        notes.append("{}{}, relative error {:.5f}".format(named, how, errors[-1]))
    return notes, refused


def _padded(torch: Any, a: Tuple[Any, Any], b: Tuple[Any, Any]) -> Any:
    """Multiply with zeros added up to whole 16s, and cut the result back."""
    sides = []
    for values, scale in (a, b):
        rows, depth = values.shape
        deep, high = (-(-size // MULTIPLE) * MULTIPLE for size in (depth, rows))
        filled = torch.zeros((high, deep), dtype=torch.uint8, device=values.device)
        filled[:rows, :depth] = values.view(torch.uint8)  # fp8 knows no padding; zero is byte 0
        more = (0, 0, 0, high - rows)
        scales = torch.nn.functional.pad(scale, more, value=1.0) if scale.dim() else scale
        sides.append((filled.view(torch.float8_e4m3fn), scales))
    return multiply(torch, sides[0], sides[1])[: a[0].shape[0], : b[0].shape[0]]


def _dequantized(a: Tuple[Any, Any], b: Tuple[Any, Any]) -> Any:
    """Multiply what the quantized values stand for in float64."""
    left, right = (values.to(scale.dtype).double() * scale.double() for values, scale in (a, b))
    return reference(left, right)


def _error(got: Any, wanted: Any) -> float:
    return float((got.double() - wanted).norm() / wanted.norm())


def _times(torch: Any, device: str, variant: str) -> Dict[str, float]:
    """Time quantizing the activations and multiplying; the weight is quantized beforehand."""
    api = _beside("_torch")
    shape = api.timed_shape(device)
    x, weight = _operands(torch, shape, device)
    b = quantize(torch, weight, variant)

    def forward() -> Any:
        return multiply(torch, quantize(torch, x, variant), b)

    lost = api.corner_error(forward(), reference, x, weight)
    del weight
    a = quantize(torch, x, variant)
    return {
        "timed_rel_error": lost,
        "milliseconds": api.timed_on(torch, device, forward),
        "milliseconds_product": api.timed_on(torch, device, lambda: multiply(torch, a, b)),
        **api.shape_numbers(shape),
    }


def _operands(torch: Any, shape: Tuple[int, int, int], device: str) -> Tuple[Any, Any]:
    rows, depth, columns = shape
    x = torch.randn((rows, depth), device=device, dtype=torch.bfloat16)
    return x, torch.randn((columns, depth), device=device, dtype=torch.bfloat16)


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
