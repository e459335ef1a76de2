"""Does ``llrint`` of this triton's libdevice compile, run and round exactly?

The functions moved three times; this finds where they are by looking, not by version. Reference:
round half to even, which ``llrint`` does in the default rounding mode (CUDA Math API, llrintf) and
which Python's ``round`` does for floats.
"""

# ruff: noqa: ANN401, B905, BLE001, F821 - examined modules have no types, any error is an answer,
# and Python 3.8 knows no strict zip
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import importlib
import importlib.util
import re
import struct
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List

PROBE = {  # type: Dict[str, Any]
    "name": "triton_libdevice",
    "title": "Triton libdevice op (llrint)",
    "imports": ["torch", "triton"],
    "needs": ["triton", "torch", "gpu"],
    "compile_needs": ["triton"],
    "modes": ["run", "compile"],
    "seconds": 120,
    "memory_mib": 8192,
    "gpu_mib": 8,
    "quick": False,
    "variants": ["llrint"],
    "tolerance": 0.0,
    "sms": ["7.0", "7.5", "8.0", "8.6", "8.9", "9.0"],
}

ROUNDING = re.compile(r"cvt\.rni(\.ftz)?\.s64\.f32")
"""The PTX instruction of llrintf: round to nearest even integer (PTX ISA, cvt)."""

BLOCK = 64
VALUES = [
    0.0, 0.5, 1.5, 2.5, 3.5, -0.5, -1.5, -2.5, -3.5, 0.49999997, -0.49999997, 0.50000006, 1.0, -1.0,
    126.5, 127.5, -127.5, -128.5, 1e-30, -1e-30, 4194304.5, -4194304.5, 8388607.5, -8388607.5,
    8388609.0, 16777216.0, 2147483648.0, -2147483648.0, 1e12, -1e12, 9.2e18, -9.2e18,
]  # fmt: skip
"""Ties, signs, numbers around the int8 limits, and numbers at and past float32's last half."""


tl: Any  # triton.language
llrint: Any  # what find_libdevice found; both are bound before the kernel is compiled


def phase(text: str) -> None:
    """Say what is under way; the harness puts its own in this place."""


def _llrint_kernel(source, target, BLOCK: tl.constexpr):  # type: ignore # noqa: ANN001, ANN202, N803, PGH003
    at = tl.arange(0, BLOCK)
    tl.store(target + at, llrint(tl.load(source + at)))


def run(request: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield one outcome a device ("run") or one an SM ("compile")."""
    api, made = _beside("_triton"), _beside("_outcomes")
    phase("importing triton")
    path, kernel = _kernel(api)
    if request.get("mode") == "compile":
        for sm in request.get("sms") or PROBE["sms"]:
            yield _compiled(api, made, kernel, path, sm)
        return
    yield _ran(made, kernel, path, int(request.get("device") or 0))


def reference(values: List[float]) -> List[int]:
    """Round each float32 value half to even, exactly."""
    return [round(struct.unpack("<f", struct.pack("<f", value))[0]) for value in values]


def _kernel(api: Any) -> Any:
    """Jit the kernel with ``llrint`` bound to what was found."""
    triton = importlib.import_module("triton")
    path, function = api.find_libdevice("llrint")
    globals().update(tl=triton.language, llrint=function)
    return "triton.language." + path, triton.jit(_llrint_kernel)


def _compiled(api: Any, made: Any, kernel: Any, path: str, sm: str) -> Dict[str, Any]:
    fields: Dict[str, Any] = {
        "variant": "llrint",
        "device": "sm_" + sm.replace(".", ""),
        "ran": False,
    }
    phase("compiling for " + fields["device"])
    types = {"source": "*fp32", "target": "*i64"}
    try:
        result = api.compile_ahead(kernel, types, {"BLOCK": BLOCK}, sm, num_warps=1)
    except Exception as error:
        return made.from_error(error, path_taken=path, **fields)
    if not ROUNDING.search(result.asm["ptx"]):
        detail = "compiled, but without cvt.rni.s64.f32: llrint became something else"
        return made.outcome("wrong", detail, code="silent-slow-path", path_taken=path, **fields)
    numbers = {"cubin_bytes": len(result.asm[result.stage])}
    note = [result.note] if result.note else []
    return made.outcome(
        "passed", "compiled, not run", path_taken=path, numbers=numbers, evidence=note, **fields
    )


def _ran(made: Any, kernel: Any, path: str, device: int) -> Dict[str, Any]:
    fields = {"variant": "llrint", "device": "cuda:{}".format(device), "path_taken": path}
    try:
        phase("importing torch")
        torch = importlib.import_module("torch")
        _require_gpu(made, torch)
        values = VALUES + [0.0] * (BLOCK - len(VALUES))
        source = torch.tensor(values, dtype=torch.float32, device=fields["device"])
        target = torch.full((BLOCK,), -7, dtype=torch.int64, device=fields["device"])
        phase("compiling and launching llrint")
        with torch.cuda.device(device):
            kernel[(1,)](source, target, BLOCK=BLOCK, num_warps=1)
        got = target.tolist()
    except Exception as error:
        return made.from_error(error, **fields)
    wanted = reference(values)
    worst = max(abs(a - b) for a, b in zip(got, wanted))
    numbers = {"max_abs_error": worst, "tolerance": PROBE["tolerance"], "values": len(VALUES)}
    if worst:
        bad = next(i for i in range(BLOCK) if got[i] != wanted[i])
        detail = "llrint({!r}) gave {}, not {}".format(values[bad], got[bad], wanted[bad])
        return made.outcome("wrong", detail, code="wrong-value", numbers=numbers, **fields)
    detail = "{} values rounded exactly".format(len(VALUES))
    return made.outcome("passed", detail, numbers=numbers, **fields)


def _require_gpu(made: Any, torch: Any) -> None:
    if not torch.cuda.is_available():
        raise made.Skipped("no-gpu", "torch.cuda.is_available() is False")


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
