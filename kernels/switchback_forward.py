"""Does a SwitchBack forward run here: int8 product, rescale and bias, against float64?

First bitsandbytes' own, where the installed release still ships one, then ours. A number counts
only together with the path: the product must be exact where float32 could not be, and the compiled
kernel must hold int8 tensor-core instructions. Without a usable GPU ours runs on the CPU, as
qdoctor.nn does: by torch's own operations, exact too, and it says by which product.
"""

# ruff: noqa: ANN401, BLE001 - examined modules have no types, and any error is an answer
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import ast
import importlib
import importlib.util
import math
import sys
import types
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

PROBE = {  # type: Dict[str, Any]
    "name": "switchback_forward",
    "title": "SwitchBack forward (int8 linear layer)",
    "imports": ["torch", "triton"],
    "needs": ["torch", "triton", "gpu"],
    "cpu_needs": ["torch"],
    "compile_needs": ["triton"],
    "modes": ["run", "compile"],
    "seconds": 240,
    "memory_mib": 12288,
    "gpu_mib": 64,
    "quick": False,
    "variants": ["bitsandbytes", "qdoctor"],
    "tolerance": 0.015,
    "sms": ["8.0", "9.0"],
}

TOLERANCE = 0.015
"""Relative error on Gaussian data. Rounding a row to 127 steps of its largest value (3 to 4
standard deviations) errs by about 3.5 / 127 / sqrt(12) = 0.008 an operand, 0.012 for two."""
SHAPES = ((256, 1024, 768), (1, 1280, 512), (17, 1000, 300), (33, 77, 65))
"""Rows, depth, columns: plain; one row; a depth that is no multiple of 16; odd everywhere."""
EXACT = (65, 4096, 130)
"""Sums of 4096 products up to 127 * 127 pass 2**24: float32 sums could not be exact."""

BNB_KERNEL = "quantize_rowwise"
BNB_TYPES = {"x_ptr": "*fp16", "output_ptr": "*i8", "output_maxs": "*fp16", "n_elements": "i32"}
BNB_CONSTANTS = {"BLOCK_SIZE": 1024, "P2": 1024}


def phase(text: str) -> None:
    """Say what is under way; the harness puts its own in this place."""


def run(request: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield bitsandbytes' outcomes, then ours: one a device ("run") or one an SM ("compile")."""
    made = _beside("_outcomes")
    if request.get("mode") == "compile":
        sms = list(request.get("sms") or PROBE["sms"])
        yield from _compile(made, "bitsandbytes", _bitsandbytes_kernel, sms)
        yield from _compile(made, "qdoctor", _our_kernel, sms)
        return
    device = request.get("device", 0)  # None: the CPU, whatever torch sees
    yield _guarded(made, "bitsandbytes", device, _run_bitsandbytes, _skip_bitsandbytes)
    yield _guarded(made, "qdoctor", device, _run_ours, _run_plain)


def reference(x: Any, weight: Any, bias: Any) -> Any:
    """Compute the layer in float64 from the very operands the kernel gets."""
    return x.double() @ weight.double().t() + bias.double()


def relative_error(got: Any, wanted: Any) -> float:
    """Return ||got - wanted||F / ||wanted||F in float64."""
    return float((got.double() - wanted).norm() / wanted.norm())


# Compiling, without a GPU


def _compile(
    made: Any, variant: str, build: Callable[[Any, List[str]], Any], sms: List[str]
) -> Iterator[Dict[str, Any]]:
    """Yield an outcome for each SM, or a single one when it fails before any SM matters."""
    notes: List[str] = []
    try:
        phase("importing what {} compiles".format(variant))
        job = build(made, notes)
    except (Exception, SystemExit) as error:
        yield made.from_error(error, variant=variant, ran=False, evidence=notes)
        return
    for sm in sms:
        fields = {"variant": variant, "device": "sm_" + sm.replace(".", ""), "ran": False}
        phase("compiling {} for {}".format(variant, fields["device"]))
        try:
            yield dict(job(sm), **fields)
        except Exception as error:
            yield made.from_error(error, evidence=notes, **fields)


def _our_kernel(made: Any, notes: List[str]) -> Callable[[str], Dict[str, Any]]:
    api, ours = _beside("_triton"), _beside("_switchback_triton")
    kernels = ours.jitted()
    quantize = _beside("_switchback_quantize").jitted()["quantize_rows"]
    tiles = ours.TILES[-1]  # fits every device's shared memory

    def job(sm: str) -> Dict[str, Any]:
        api.compile_ahead(quantize, ROW_TYPES, ROW_CONSTANTS, sm, num_warps=4)
        result = api.compile_ahead(
            kernels["int8_product"], PRODUCT_TYPES,
            ours.constants(ODD_DEPTH, tiles, bias=True), sm,
            num_warps=tiles.warps, num_stages=tiles.stages,
        )  # fmt: skip
        evidence = [*notes, result.note] if result.note else notes
        instruction = api.int8_matrix_instruction(result.asm["ptx"])
        if not instruction:
            text = "compiled, but without int8 tensor-core instructions"
            return made.outcome("wrong", text, code="silent-slow-path", evidence=evidence)
        return made.outcome(
            "passed", "compiled, not run", path_taken="Triton " + instruction, evidence=evidence
        )

    return job


ROW_TYPES = {
    "x": "*fp16", "q": "*i8", "scale": "*fp32", "factor": "*fp32",
    "M": "i32", "K": "i32", "stride_x": "i32", "steps": "fp32",
}  # fmt: skip
ROW_CONSTANTS = {"FACTOR": False, "ROWS": 4, "A": 1024, "B": 0, "EARLY": False}
PRODUCT_TYPES = {
    "a": "*i8", "b": "*i8", "c": "*fp16", "scale_a": "*fp32", "scale_b": "*fp32", "bias": "*fp16",
    "M": "i32", "N": "i32", "K": "i32", "step_b": "i32",
}  # fmt: skip
ODD_DEPTH = 1000
"""A multiple of no tile's depth: the compiled product masks its last step."""


def _bitsandbytes_kernel(made: Any, notes: List[str]) -> Callable[[str], Dict[str, Any]]:
    """Import the installed package's own Triton files, in the order in which it does.

    Its top level would load native libraries first, which is not what is asked here: an empty
    package in its place lets the Triton files be imported alone.
    """
    api = _beside("_triton")
    folder = _bitsandbytes_folder(made)
    importlib.import_module("triton")  # without it their kernels turn into functions giving None
    stand_in = types.ModuleType("bitsandbytes")
    stand_in.__path__ = [str(folder)]
    sys.modules["bitsandbytes"] = stand_in
    module = _import_all(_imported_by_layers(folder), notes)["bitsandbytes.triton." + BNB_KERNEL]
    kernel = getattr(module, "_" + BNB_KERNEL)
    kernel = getattr(kernel, "fn", kernel) if hasattr(kernel, "configs") else kernel

    def job(sm: str) -> Dict[str, Any]:
        result = api.compile_ahead(kernel, BNB_TYPES, BNB_CONSTANTS, sm, num_warps=4)
        evidence = [*notes, result.note] if result.note else notes
        detail = "its {} kernel: compiled, not run".format(BNB_KERNEL)
        path = folder / "triton" / (BNB_KERNEL + ".py")
        return made.outcome("passed", detail, path_taken=str(path), evidence=evidence)

    return job


def _bitsandbytes_folder(made: Any) -> Path:
    """Find the folder of the bitsandbytes that would be imported, if it has SwitchBack."""
    spec = importlib.util.find_spec("bitsandbytes")
    if spec is None or not spec.origin:
        raise made.Skipped("not-installed", "bitsandbytes is not installed")
    folder = Path(spec.origin).parent
    if not (folder / "triton" / (BNB_KERNEL + ".py")).exists():
        raise made.Skipped("not-shipped", "the bitsandbytes in {} has no SwitchBack".format(folder))
    return folder


def _imported_by_layers(folder: Path) -> List[str]:
    """List the Triton files of bitsandbytes in the order in which its layers import them."""
    wanted = "bitsandbytes.triton." + BNB_KERNEL
    path = folder / "nn" / "triton_based_modules.py"
    if not path.exists():
        return [wanted]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ordered = [name for name in dict.fromkeys(named) if name.startswith("bitsandbytes.triton.")]
    return ordered if wanted in ordered else [*ordered, wanted]


def _import_all(names: List[str], notes: List[str]) -> Dict[str, Any]:
    """Import each; what fails later than the first failure is noted. Raises the first."""
    modules: Dict[str, Any] = {}
    first: Optional[Exception] = None
    for name in names:
        try:
            modules[name] = importlib.import_module(name)
        except Exception as error:  # noqa: PERF203 - importing third-party code
            first = first or error
            notes.append("import {}: {}: {}".format(name, type(error).__name__, error))
    if first is not None:
        raise first
    return modules


# Running, on a GPU or on the CPU


def _guarded(
    made: Any,
    variant: str,
    index: Optional[int],
    on_gpu: Callable[..., Dict[str, Any]],
    on_cpu: Callable[..., Dict[str, Any]],
) -> Dict[str, Any]:
    device = "cpu" if index is None else "cuda:{}".format(index)
    fields: Dict[str, Any] = {"variant": variant, "device": device}
    try:
        phase("importing torch")
        torch = importlib.import_module("torch")
        api = _beside("_torch")
        api.keep_small()
        seen = torch.cuda.is_available()
        if index is None or not seen:
            fields["device"] = "cpu"
            torch.manual_seed(8)
            return dict(on_cpu(made, torch, [] if seen else api.device(torch, 0)[1]), **fields)
        with api.current(torch, device):
            torch.manual_seed(8)
            return dict(on_gpu(made, torch, device), **fields)
    except (Exception, SystemExit) as error:
        return made.from_error(error, **fields)


def _skip_bitsandbytes(made: Any, _torch: Any, _why: List[str]) -> Dict[str, Any]:
    _bitsandbytes_folder(made)
    raise made.Skipped("no-gpu", "bitsandbytes' own SwitchBack is written in Triton, for GPUs")


def _run_bitsandbytes(made: Any, torch: Any, device: str) -> Dict[str, Any]:
    _bitsandbytes_folder(made)
    phase("importing bitsandbytes")
    layers = importlib.import_module("bitsandbytes.nn")
    made_layers: Dict[Tuple[int, int], Any] = {}

    def forward(x: Any, weight: Any, bias: Any) -> Any:
        layer = made_layers.get((x.shape[1], weight.shape[0]))
        if layer is None:
            layer = layers.SwitchBackLinear(
                x.shape[1], weight.shape[0], device=device, dtype=x.dtype,
                vector_wise_quantization=True,
            )  # fmt: skip
            made_layers[(x.shape[1], weight.shape[0])] = layer
        with torch.no_grad():
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
            return layer(x)

    phase("running bitsandbytes' SwitchBack")
    numbers = _errors(torch, device, torch.float16, forward)
    path = "bitsandbytes.nn.SwitchBackLinear ({})".format(layers.__file__)
    return _judged(made, numbers, path, [])


def _run_ours(made: Any, torch: Any, device: str) -> Dict[str, Any]:
    api, ours = _beside("_triton"), _beside("_switchback_product")
    dtype = _half(torch)
    phase("compiling and checking the int8 product")
    instruction, differing = _product_path(torch, device, api, _beside("_switchback_triton"))
    phase("compiling and running the fused kernels")
    numbers = _errors(torch, device, dtype, ours.forward)
    phase("timing")
    numbers.update(_times(torch, device, dtype, ours))
    path = "Triton {}, {}".format(instruction or "without int8 tensor cores", dtype)
    notes = ["int32 sums past 2**24 are exact"]
    if ours.has_own(torch.device(device).index):
        path += "; larger products: wgmma fed by the tensor copy engine"
    elif ours.why_not(torch.device(device).index):
        notes.append("Triton's alone: " + ours.why_not(torch.device(device).index))
    if differing:
        text = "{} of {} int32 sums differ from the exact product".format(
            differing, EXACT[0] * EXACT[2]
        )
        return made.outcome("wrong", text, code="inexact-product", numbers=numbers, path_taken=path)
    if not instruction:
        text = "right numbers, but the compiled product uses no int8 tensor-core instruction"
        return made.outcome(
            "wrong", text, code="silent-slow-path", numbers=numbers, path_taken=path
        )
    return _judged(made, numbers, path, notes)


def _run_plain(made: Any, torch: Any, why: List[str]) -> Dict[str, Any]:
    phase("checking the int8 products on the CPU")
    ours = _beside("_switchback_on_cpu").Layer(made, torch)
    phase("running the layer on the CPU")
    numbers = _errors(torch, "cpu", ours.dtype, ours.forward)
    phase("timing on cpu")
    operands = _operands(torch, _beside("_torch").timed_shape("cpu"), "cpu", ours.dtype)
    numbers.update(ours.timed(operands, reference))
    path = "{} on cpu, {}".format(ours.name, ours.dtype)
    return _judged(made, numbers, path, [*why, *ours.told()])


def _judged(made: Any, numbers: Dict[str, float], path: str, notes: List[str]) -> Dict[str, Any]:
    fields = {"numbers": numbers, "path_taken": path, "evidence": notes}
    worst = numbers["max_rel_error"]
    detail = "relative error {:.4f} against float64, at most {} allowed".format(worst, TOLERANCE)
    if worst <= TOLERANCE:  # False for NaN
        return made.outcome("passed", detail, **fields)
    return made.outcome("wrong", detail, code="wrong-value", **fields)


def _product_path(torch: Any, device: str, api: Any, ours: Any) -> Tuple[str, int]:
    """Return the int8 instruction of the compiled product, and how many sums are not exact."""
    rows, depth, columns = EXACT
    a = torch.randint(100, 128, (rows, depth), dtype=torch.int8, device=device)
    b = torch.randint(-128, 128, (columns, depth), dtype=torch.int8, device=device)
    b[: columns // 2] = 127 - (b[: columns // 2] & 7)  # half of the columns sum far past 2**24
    c, compiled = ours.int8_product(a, b)
    exact = a.double() @ b.double().t()
    return api.int8_matrix_instruction(compiled.asm["ptx"]), int((c.double() != exact).sum())


def _errors(torch: Any, device: str, dtype: Any, forward: Callable[..., Any]) -> Dict[str, float]:
    """Relative errors over SHAPES on Gaussian data: the plain shape's, and the worst."""
    errors = []
    for rows, depth, columns in SHAPES:
        x, weight, bias = _operands(torch, (rows, depth, columns), device, dtype)
        errors.append(relative_error(forward(x, weight, bias), reference(x, weight, bias)))
    return {
        "rel_error": errors[0],
        "max_rel_error": max(errors, key=lambda error: (math.isnan(error), error)),
        "tolerance": TOLERANCE,
    }


def _times(torch: Any, device: str, dtype: Any, ours: Any) -> Dict[str, float]:
    """Time the forward on the common product, the weight quantized beforehand and each time."""
    api = _beside("_torch")
    x, weight, bias = _operands(torch, api.TIMED, device, dtype)
    quantize_rows = _beside("_switchback_quantize").quantize_rows
    quantized = quantize_rows(weight)

    def forward() -> Any:
        return ours.rescaled_product(quantize_rows(x), quantized, bias, dtype)

    in_float64 = lambda a, b: reference(a, b, bias[: b.shape[0]])  # noqa: E731 - it is passed on
    return {
        "timed_rel_error": api.corner_error(forward(), in_float64, x, weight),
        "milliseconds": api.milliseconds(torch, forward),
        "milliseconds_quantizing_weight": api.milliseconds(
            torch, lambda: ours.forward(x, weight, bias)
        ),
        "gpu_mib": api.gpu_mib(torch),
        **api.shape_numbers(api.TIMED),
    }


def _operands(torch: Any, shape: Tuple[int, int, int], device: str, dtype: Any) -> Tuple[Any, ...]:
    rows, depth, columns = shape
    sizes = ((rows, depth), (columns, depth), (columns,))
    return tuple(torch.randn(size, device=device, dtype=dtype) for size in sizes)


def _half(torch: Any) -> Any:
    """bfloat16 where this GPU has it in hardware, else float16."""
    return torch.bfloat16 if _beside("_torch").has_bf16(torch) else torch.float16


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
