"""Does ``torch.compile`` generate, build and run code here: Triton's on the GPU, C++ on the CPU?

A function of two operations, compiled as one graph by inductor, against float64. That it was
compiled is proved by what inductor wrote: where compiling is disabled or its errors are suppressed,
torch runs the very same function eagerly and says nothing.
"""

# ruff: noqa: ANN401, BLE001 - examined modules have no types, and any error is an answer
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List

PROBE = {  # type: Dict[str, Any]
    "name": "torch_compile_minimal",
    "title": "torch.compile of two operations (inductor)",
    "needs": ["torch"],
    "modes": ["run"],
    "seconds": 240,
    "memory_mib": 12288,
    "gpu_mib": 64,
    "imports": ["torch"],
    "cores": 1,
    "quick": False,
    "variants": ["gpu", "cpu"],
    "tolerance": 1e-6,
}

TOLERANCE = 1e-6
"""Relative error, Frobenius: a float32 sine is within 2 units in the last place (CUDA Math API), a
product within a half, a unit being at most 1.2e-7 of the value."""
SHAPE = (33, 77)
"""No multiple of any block: the generated code must mask, or handle what is left over."""
GENERATED = {"gpu": re.compile(r"\btriton_\w*_fused_\w+"), "cpu": re.compile(r"\bcpp_fused_\w+")}
"""What inductor calls the kernels that it writes."""
SETTINGS = {
    "compile_threads": 1,
    "cpp_cache_precompile_headers": False,
    "cpp.vec_isa_ok": False,
}  # type: Dict[str, Any]
"""Inductor's own, where this release has them. More threads leave processes of compilers running;
precompiled headers, 150 MB each, go into a folder of inductor's own and stay there; and to try out
which vector instructions the CPU has takes six more runs of the compiler than the answer needs."""


def phase(text: str) -> None:
    """Say what is under way; the harness puts its own in this place."""


def run(request: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield the GPU's outcome and, once for all GPUs, the CPU's."""
    made = _beside("_outcomes")
    index = request.get("device")
    yield _guarded(made, "gpu", "cuda:{}".format(index or 0))
    if not index:
        yield _guarded(made, "cpu", "cpu")


def two_operations(x: Any, y: Any) -> Any:
    """Compute what is compiled; on float64 operands it is the reference."""
    return x.sin() * y


def _guarded(made: Any, variant: str, device: str) -> Dict[str, Any]:
    fields = {"variant": variant, "device": device}
    try:
        phase("importing torch")
        torch = importlib.import_module("torch")
        _require(made, torch, variant)
        return dict(_compiled(made, torch, variant, device), **fields)
    except Exception as error:
        return made.from_error(error, **fields)


def _require(made: Any, torch: Any, variant: str) -> None:
    if variant == "gpu" and not torch.cuda.is_available():
        raise made.Skipped("no-gpu", "torch.cuda.is_available() is False")
    if not hasattr(torch, "compile"):
        raise made.Skipped("not-shipped", "torch {} has no compile".format(torch.__version__))


def _compiled(made: Any, torch: Any, variant: str, device: str) -> Dict[str, Any]:
    phase("importing torch's compiler")
    config = importlib.import_module("torch._inductor.config")
    metrics = importlib.import_module("torch._inductor.metrics")
    source = torch.Generator().manual_seed(8)
    x, y = (torch.randn(SHAPE, generator=source).to(device) for _ in range(2))
    counted, started = metrics.generated_kernel_count, time.perf_counter()
    settings = {name: value for name, value in SETTINGS.items() if _has(config, name)}
    with _fresh_cache() as folder, config.patch(settings), _on(torch, device):
        phase("compiling and running on " + device)
        got = torch.compile(two_operations, fullgraph=True, backend="inductor")(x, y).cpu()
        taken = time.perf_counter() - started
        names = _generated(folder, GENERATED[variant])
    wanted = two_operations(x.cpu().double(), y.cpu().double())
    numbers = {
        "max_rel_error": float((got.double() - wanted).norm() / wanted.norm()),
        "tolerance": TOLERANCE,
        "generated_kernels": metrics.generated_kernel_count - counted,
        "compile_seconds": taken,
        "gpu_mib": _beside("_torch").gpu_mib(torch),
    }
    return judged(made, variant, numbers, names)


def judged(made: Any, variant: str, numbers: Dict[str, float], names: List[str]) -> Dict[str, Any]:
    """Weigh the error, then the proof: kernels that inductor counted, and wrote by these names."""
    if not numbers["max_rel_error"] <= TOLERANCE:  # NaN too
        detail = "relative error {:.1e} against float64, at most {:.0e} allowed".format(
            numbers["max_rel_error"], TOLERANCE
        )
        return made.outcome("wrong", detail, code="wrong-value", numbers=numbers)
    if not numbers["generated_kernels"] or not names:
        detail = "right numbers, but inductor generated no kernel: torch ran the function eagerly"
        return made.outcome(
            "wrong", detail, code="silent-slow-path", numbers=numbers, path_taken="eager torch",
            evidence=_switched_off(),
        )  # fmt: skip
    language = "Triton" if variant == "gpu" else "C++"
    path = "inductor, {} {}".format(language, ", ".join(names))
    detail = "compiled and ran in {:.1f} s".format(numbers["compile_seconds"])
    return made.outcome("passed", detail, numbers=numbers, path_taken=path)


def _switched_off() -> List[str]:
    """List the variables that make torch.compile do nothing, or say nothing, as they are set."""
    names = ("TORCHDYNAMO_DISABLE", "TORCH_COMPILE_DISABLE", "TORCHDYNAMO_SUPPRESS_ERRORS")
    return ["{}={}".format(name, os.environ[name]) for name in names if os.environ.get(name)]


def _has(config: Any, dotted: str) -> bool:
    for name in dotted.split("."):
        if not hasattr(config, name):
            return False
        config = getattr(config, name)
    return True


def _on(torch: Any, device: str) -> Any:
    return contextlib.nullcontext() if device == "cpu" else torch.cuda.device(device)


@contextlib.contextmanager
def _fresh_cache() -> Iterator[Path]:
    """Let inductor write into a folder that is empty, so that nothing comes from its cache."""
    name = "TORCHINDUCTOR_CACHE_DIR"
    before = os.environ.get(name)
    with tempfile.TemporaryDirectory(prefix="qdoctor-inductor-") as folder:
        os.environ[name] = folder
        try:
            yield Path(folder)
        finally:
            os.environ.pop(name)
            os.environ.update({} if before is None else {name: before})


def _generated(folder: Path, pattern: Any) -> List[str]:
    """List the kernels in what inductor wrote, by name."""
    texts = [path.read_text(errors="replace") for path in folder.rglob("*.py")]
    return sorted({name for text in texts for name in pattern.findall(text)})[:4]


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
