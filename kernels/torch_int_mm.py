"""Does torch._int_mm multiply int8 by int8 into int32 here, exactly and by int8 instructions?

``plain`` are sizes that its documentation allows. ``awkward`` are one row, 17 rows and sizes that
are no multiple of 4, 8, 16 or 32: each is exact or refused, with the words of the refusal, and what
is refused is exact once padded with zeros. Reference: exact integers (int64 on the CPU).
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
    "name": "torch_int_mm",
    "title": "torch._int_mm (int8 product)",
    "imports": ["torch"],
    "needs": ["torch"],
    "modes": ["run"],
    "seconds": 120,
    "memory_mib": 12288,
    "gpu_mib": 64,
    "quick": False,
    "variants": ["plain", "awkward"],
    "tolerance": 0.0,
}

PLAIN = ((32, 4096, 136), (256, 4096, 64))
AWKWARD = ((1, 4096, 64), (16, 4096, 64), (17, 4096, 72), (32, 4100, 64), (33, 4099, 65))
"""Rows, depth, columns: one row; as many as are refused, and the first that are not; a depth of
whole 4s; odd everywhere. Sums of some 4096 products near 127 * 127 pass 2**24: sums in float32
could not be exact."""
LEAST_ROWS, MULTIPLE = 17, 8
"""What torch asks for on CUDA: more than 16 rows, depth and columns of whole 8s (the checks in
ATen/native/cuda/Blas.cpp, _int_mm_out_cuda). The probe pads up to that."""


def phase(text: str) -> None:
    """Say what is under way; the harness puts its own in this place."""


def run(request: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield one outcome a variant, of the GPU asked for or of the CPU."""
    made, api = _beside("_outcomes"), _beside("_torch")
    fields: Dict[str, Any] = {"variant": "plain"}
    try:
        phase("importing torch")
        torch = importlib.import_module("torch")
        api.keep_small()
        device, why = api.device(torch, int(request.get("device") or 0))
        fields.update(device=device, evidence=why)
        if not hasattr(torch, "_int_mm"):
            text = "this torch has no _int_mm"
            raise made.Skipped("not-shipped", text)  # noqa: TRY301 - told like any other
    except Exception as error:
        for variant in PROBE["variants"]:
            yield made.from_error(error, **dict(fields, variant=variant))
        return
    for variant, body in (("plain", _plain), ("awkward", _awkward)):
        known = dict(fields, variant=variant, evidence=list(why))
        try:
            torch.manual_seed(8)
            with api.current(torch, device):
                yield body(made, torch, device, known)
        except Exception as error:
            yield made.from_error(error, **known)


def operands(torch: Any, shape: Tuple[int, int, int], device: str) -> Tuple[Any, Any]:
    """Return a (rows x depth) and b (columns x depth), int8; half the sums pass 2**24."""
    rows, depth, columns = shape
    a = torch.randint(100, 128, (rows, depth), dtype=torch.int8)
    b = torch.randint(-128, 128, (columns, depth), dtype=torch.int8)
    b[: columns // 2] = 127 - (b[: columns // 2] & 7)
    return a.to(device), b.to(device)


def reference(a: Any, b: Any) -> Any:
    """Compute a times b transposed in int64, on the CPU."""
    return a.cpu().long() @ b.cpu().long().t()


def _plain(made: Any, torch: Any, device: str, fields: Dict[str, Any]) -> Dict[str, Any]:
    """Multiply the documented sizes; a refusal is a failure."""
    notes: List[str] = []
    differing = 0
    for shape in PLAIN:
        phase("multiplying {} x {} x {} on {}".format(*shape, device))
        a, b = operands(torch, shape, device)
        wrong = int((torch._int_mm(a, b.t()).cpu().long() != reference(a, b)).sum())  # noqa: SLF001
        notes.append(_words(shape, "exact", wrong))
        differing += wrong
    phase("asking which kernel multiplied")
    path, why = _beside("_traced").product(torch, device, lambda: torch._int_mm(a, b.t()))  # noqa: SLF001
    fields["evidence"] = [*fields["evidence"], *notes, *why]
    fields["path_taken"] = "torch._int_mm on " + path
    fields["numbers"] = _numbers(torch, {"exact": len(PLAIN), "differing": differing})
    if differing:
        return made.outcome("wrong", "; ".join(notes), code="wrong-value", **fields)
    if _beside("_traced").FLOATING.search(path):
        text = "exact, but not multiplied as integers: " + path
        return made.outcome("wrong", text, code="silent-slow-path", **fields)
    detail = "{} sizes, every sum exact, also past 2**24".format(len(PLAIN))
    return made.outcome("passed", detail, **fields)


def _awkward(made: Any, torch: Any, device: str, fields: Dict[str, Any]) -> Dict[str, Any]:
    """Multiply what is not documented to work: exact, or refused and exact once padded."""
    notes: List[str] = []
    counts = {"exact": 0, "refused": 0, "differing": 0}
    for shape in AWKWARD:
        phase("multiplying {} x {} x {} on {}".format(*shape, device))
        a, b = operands(torch, shape, device)
        how, got = _multiply(torch, a, b)
        wrong = int((got.cpu().long() != reference(a, b)).sum())
        counts["differing"] += wrong
        counts["exact" if how == "exact" else "refused"] += 1
        notes.append(_words(shape, how, wrong))
    fields["evidence"] = [*fields["evidence"], *notes]
    fields["path_taken"] = "torch._int_mm on " + device
    fields["numbers"] = _numbers(torch, counts)
    if counts["differing"]:
        return made.outcome("wrong", "; ".join(notes), code="wrong-value", **fields)
    detail = "{exact} sizes exact as they are, {refused} refused and exact once padded"
    return made.outcome("passed", detail.format(**counts), **fields)


def _multiply(torch: Any, a: Any, b: Any) -> Tuple[str, Any]:
    """Multiply as it is, else padded with zeros: (what was done, the sums that were asked for)."""
    try:
        return "exact", torch._int_mm(a, b.t())  # noqa: SLF001
    except RuntimeError as error:
        if _beside("_outcomes").from_error(error)["outcome"] == "skipped":
            raise  # the machine's shortage, not a refusal
        refusal = " ".join(str(error).split("\n")[0].split())
    (rows, depth), columns = a.shape, b.shape[0]
    deep, wide = (-(-size // MULTIPLE) * MULTIPLE for size in (depth, columns))
    pad = torch.nn.functional.pad
    left = pad(a, (0, deep - depth, 0, max(LEAST_ROWS - rows, 0)))
    right = pad(b, (0, deep - depth, 0, wide - columns))
    got = torch._int_mm(left, right.t())[:rows, :columns]  # noqa: SLF001
    return "refused ({}), exact once padded".format(refusal), got


def _words(shape: Tuple[int, int, int], how: str, differing: int) -> str:
    if differing:
        how = "{} of {} sums differ".format(differing, shape[0] * shape[2])
    return "{} x {} x {}: ".format(*shape) + how


def _numbers(torch: Any, counts: Dict[str, int]) -> Dict[str, float]:
    exact = {"max_abs_error": 0} if not counts["differing"] else {}
    return dict(counts, tolerance=0, gpu_mib=_beside("_torch").gpu_mib(torch), **exact)


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
