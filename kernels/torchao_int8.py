"""Does torchao's int8 linear layer (dynamic activations, int8 weight) run here, and as int8?

The installed release's own ``quantize_`` on an nn.Linear, against float64 of the layer that was
quantized. ``plain`` are sizes that int8 products are made for, ``awkward`` one row, 17 rows and odd
sizes: there torchao may multiply otherwise without a word, on the CPU even. What was called is
asked of torch's own record.
"""

# ruff: noqa: ANN401, B905, BLE001 - examined modules have no types, any error is an answer,
# and Python 3.8 knows no strict zip
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

PROBE = {  # type: Dict[str, Any]
    "name": "torchao_int8",
    "title": "torchao int8 linear layer (dynamic activations)",
    "imports": ["torch", "torchao"],
    "needs": ["torch", "torchao"],
    "modes": ["run"],
    "seconds": 180,
    "memory_mib": 12288,
    "gpu_mib": 64,
    "quick": False,
    "variants": ["plain", "awkward"],
    "tolerance": 0.015,
}

TOLERANCE = 0.015
"""Relative error on Gaussian data. Rounding a row to 127 steps of its largest value (3 to 4
standard deviations) errs by about 3.5 / 127 / sqrt(12) = 0.008 an operand, 0.012 for two."""
SHAPES = {
    "plain": ((256, 1024, 768), (32, 4096, 136)),
    "awkward": ((1, 1280, 512), (17, 1024, 768), (17, 1000, 300), (33, 77, 65)),
}
"""Rows, depth, columns. Awkward: one row (torch's int8 product asks for 17), 17 rows, columns of
whole 4s, odd everywhere."""
INT8_CALLS = ("aten::_int_mm", "torchao::")
"""Torch's int8 product, and torchao's own ones."""
MAKERS = ("Int8DynamicActivationInt8WeightConfig", "int8_dynamic_activation_int8_weight")
"""How its releases call the recipe: a class since 0.9, a function since 0.4."""
OLDEST = ("change_linear_weights_to_int8_dqtensors", "apply_dynamic_quant")
"""The one call of its first releases, before there was quantize_."""


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
        named, quantize = _recipe(made)
        why.append(named)
    except Exception as error:
        for variant in PROBE["variants"]:
            yield made.from_error(error, **dict(fields, variant=variant))
        return
    for variant in PROBE["variants"]:
        known = dict(fields, variant=variant, evidence=list(why))
        try:
            torch.manual_seed(8)
            with api.current(torch, device), torch.no_grad():
                yield _judged(made, torch, quantize, known)
        except Exception as error:
            yield made.from_error(error, **known)


def reference(x: Any, weight: Any, bias: Any) -> Any:
    """Compute the unquantized layer in float64."""
    return x.double() @ weight.double().t() + bias.double()


def _recipe(made: Any) -> Tuple[str, Callable[[Any], Any]]:
    """Find how this torchao quantizes a model to int8: (in words, a function of the model)."""
    phase("importing torchao")
    try:
        torchao = importlib.import_module("torchao")
    except ModuleNotFoundError as error:
        if error.name != "torchao":
            raise
        raise made.Skipped("not-installed", "torchao is not installed") from None
    recipes = importlib.import_module("torchao.quantization")
    release = "torchao {}".format(getattr(torchao, "__version__", None) or _installed())
    quantize = getattr(recipes, "quantize_", None)
    for name in MAKERS:
        make = getattr(recipes, name, None)
        if make is not None and quantize is not None:
            return "{}: quantize_ with {}".format(release, name), _by(quantize, make)
    for name in OLDEST:
        if hasattr(recipes, name):
            return "{}: {}".format(release, name), getattr(recipes, name)
    text = "{} has no int8 recipe for dynamic activations".format(release)
    raise made.Skipped("not-shipped", text)


def _installed() -> str:
    """Read the version from its metadata: the first releases do not say it themselves."""
    metadata = importlib.import_module("importlib.metadata")
    try:
        return metadata.version("torchao")
    except metadata.PackageNotFoundError:
        return "of unknown version"


def _by(quantize: Callable[..., Any], make: Callable[[], Any]) -> Callable[[Any], Any]:
    return lambda model: quantize(model, make())


def _judged(
    made: Any, torch: Any, quantize: Callable[[Any], Any], fields: Dict[str, Any]
) -> Dict[str, Any]:
    variant, device = fields["variant"], fields["device"]
    errors: List[float] = []
    again: Dict[str, Callable[[], Any]] = {}
    for shape in SHAPES[variant]:
        named = "{} x {} x {}".format(*shape)
        phase("quantizing and running {} on {}".format(named, device))
        error, again[named] = _one(torch, quantize, shape, device)
        errors.append(error)
    times = _times(torch, quantize, device) if variant == "plain" else {}
    phase("asking torch what it called")
    calls = _beside("_traced").called(torch, again)
    for (named, seen), error in zip(calls.items(), errors):
        words = "{}: relative error {:.4f} by {}".format(named, error, _words(seen))
        fields["evidence"].append(words)
    slow = [
        "{} by {}".format(named, _words(seen))
        for named, seen in calls.items()
        if not _is_int8(seen)
    ]
    worst = max(errors, key=lambda one: (one != one, one))  # noqa: PLR0124 - NaN is the worst
    every = dict.fromkeys(call for seen in calls.values() for call in seen)
    fields["path_taken"] = "{} on {}".format(_words(list(every)), device)
    fields["numbers"] = {"rel_error": errors[0], "max_rel_error": worst, "tolerance": TOLERANCE}
    fields["numbers"].update(times, gpu_mib=_beside("_torch").gpu_mib(torch))
    detail = "relative error {:.4f} against float64, at most {} allowed".format(worst, TOLERANCE)
    if not worst <= TOLERANCE:  # True for NaN
        return made.outcome("wrong", detail, code="wrong-value", **fields)
    if slow:
        text = "right numbers, but not by an int8 product: " + "; ".join(slow)
        return made.outcome("wrong", text, code="silent-slow-path", **fields)
    return made.outcome("passed", detail, **fields)


def _one(
    torch: Any, quantize: Callable[[Any], Any], shape: Tuple[int, int, int], device: str
) -> Tuple[float, Callable[[], Any]]:
    """Quantize a layer and run it: (relative error, how to run it again)."""
    x, layer = _operands(torch, shape, device)
    wanted = reference(x, layer.weight, layer.bias)
    model = _quantized(torch, quantize, layer)
    got = model(x)
    return float((got.double() - wanted).norm() / wanted.norm()), lambda: model(x)


def _times(torch: Any, quantize: Callable[[Any], Any], device: str) -> Dict[str, float]:
    """Time the layer on the common product, as it is: not compiled."""
    phase("timing on " + device)
    api = _beside("_torch")
    shape = api.timed_shape(device)
    x, layer = _operands(torch, shape, device)
    weight = layer.weight[: api.CORNER[1]].clone()
    bias = layer.bias.clone()
    model = _quantized(torch, quantize, layer)
    in_float64 = lambda a, b: reference(a, b, bias[: b.shape[0]])  # noqa: E731 - it is passed on
    lost = api.corner_error(model(x), in_float64, x, weight)
    del weight, layer
    return {
        "timed_rel_error": lost,
        "milliseconds": api.timed_on(torch, device, lambda: model(x)),
        **api.shape_numbers(shape),
    }


def _quantized(torch: Any, quantize: Callable[[Any], Any], layer: Any) -> Any:
    """Quantize a model of one layer, in place."""
    model = torch.nn.Sequential(layer).eval()
    quantize(model)
    return model


def _operands(torch: Any, shape: Tuple[int, int, int], device: str) -> Tuple[Any, Any]:
    """Return Gaussian activations and a linear layer with Gaussian weights, bfloat16."""
    rows, depth, columns = shape
    layer = torch.nn.Linear(depth, columns, device=device, dtype=torch.bfloat16)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    return torch.randn((rows, depth), device=device, dtype=torch.bfloat16), layer


def _is_int8(calls: List[str]) -> bool:
    """Say whether every operator that multiplied did so in int8, and there was one."""
    return bool(calls) and all(call.startswith(INT8_CALLS) for call in calls)


def _words(calls: List[str]) -> str:
    return " and ".join(calls) or "no matrix product at all"


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
