"""Does a half-precision matrix product run here, how exact is it and how fast: the baseline.

bfloat16 where the GPU has it in hardware, else float16; on a machine without a usable GPU the same
product runs on the CPU and says so. Reference: float64 from the very operands.
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
    "name": "half_gemm",
    "title": "Half-precision matrix product (the baseline)",
    "imports": ["torch"],
    "needs": ["torch"],
    "modes": ["run"],
    "seconds": 120,
    "memory_mib": 12288,
    "quick": False,
    "variants": ["half"],
    "tolerance": {"bfloat16": 0.004, "float16": 0.0006},
    "gpu_mib": 64,
}

TOLERANCE = {"bfloat16": 0.004, "float16": 0.0006}
"""Relative error allowed: the result's own rounding is at most half a unit in the last place, 2**-9
of the value for bfloat16 and 2**-12 for float16; twice and more than twice that is allowed."""
SHAPES = ((1, 1280, 512), (17, 1000, 300), (33, 77, 65))
"""Rows, depth, columns: one row; 17 rows of a depth that is no multiple of 16; odd everywhere."""


def phase(text: str) -> None:
    """Say what is under way; the harness puts its own in this place."""


def run(request: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield one outcome, of the GPU asked for or of the CPU."""
    made, api = _beside("_outcomes"), _beside("_torch")
    fields: Dict[str, Any] = {"variant": "half"}
    try:
        phase("importing torch")
        torch = importlib.import_module("torch")
        api.keep_small()
        device, why = api.device(torch, int(request.get("device") or 0))
        fields.update(device=device, evidence=why)
        with api.current(torch, device):
            on_cpu = device == "cpu"
            dtype = torch.bfloat16 if on_cpu or api.has_bf16(torch) else torch.float16
            yield _judged(made, torch, device, dtype, fields)
    except Exception as error:
        yield made.from_error(error, **fields)


def reference(a: Any, b: Any) -> Any:
    """Compute a times b transposed in float64."""
    return a.double() @ b.double().t()


def _judged(
    made: Any, torch: Any, device: str, dtype: Any, fields: Dict[str, Any]
) -> Dict[str, Any]:
    api = _beside("_torch")
    phase("multiplying on " + device)
    rows, depth, columns = api.timed_shape(device)
    torch.manual_seed(8)
    a, b = _operands(torch, (rows, depth, columns), device, dtype)
    got = a @ b.t()
    if got.dtype != dtype or str(got.device) != device:
        text = "the result is {} on {}, not {} on {}".format(got.dtype, got.device, dtype, device)
        return made.outcome("wrong", text, code="silent-slow-path", **fields)
    error = api.corner_error(got, reference, a, b)
    del got
    worst = max([error, *_awkward(torch, device, dtype)], key=lambda one: (one != one, one))  # noqa: PLR0124 - NaN is the worst
    name = str(dtype).split(".")[-1]
    phase("timing on " + device)
    taken = api.timed_on(torch, device, lambda: a @ b.t())
    fields["numbers"] = {
        "rel_error": error, "max_rel_error": worst, "tolerance": TOLERANCE[name],
        "milliseconds": taken, "rows": rows, "depth": depth, "columns": columns,
        "gpu_mib": api.gpu_mib(torch),
    }  # fmt: skip
    fields["path_taken"] = "torch.matmul {} on {}".format(name, device)
    detail = "relative error {:.5f} against float64, at most {} allowed".format(
        worst, TOLERANCE[name]
    )
    if worst <= TOLERANCE[name]:  # False for NaN
        return made.outcome("passed", detail, **fields)
    return made.outcome("wrong", detail, code="wrong-value", **fields)


def _awkward(torch: Any, device: str, dtype: Any) -> List[float]:
    """Relative errors over SHAPES."""
    errors = []
    for shape in SHAPES:
        a, b = _operands(torch, shape, device, dtype)
        wanted = reference(a, b)
        errors.append(float(((a @ b.t()).double() - wanted).norm() / wanted.norm()))
    return errors


def _operands(torch: Any, shape: Tuple[int, int, int], device: str, dtype: Any) -> Tuple[Any, Any]:
    rows, depth, columns = shape
    a = torch.randn((rows, depth), device=device, dtype=dtype)
    return a, torch.randn((columns, depth), device=device, dtype=dtype)


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
