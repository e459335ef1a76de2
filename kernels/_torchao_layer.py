"""One of torchao's quantized layers, run and judged: its error, the product it took, its time.

Shared by the probes of torchao's formats. Python 3.8 syntax, standard library only.
"""

# ruff: noqa: ANN401, B905 - torch comes without types, and Python 3.8 knows no strict zip
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

Shape = Tuple[int, int, int]
"""Rows, depth, columns."""
WHOLE, UNITS = 16, 512
"""Rows that every format takes as a weight, and how many unit vectors are multiplied at once."""


class Held(NamedTuple):
    """What a layer is held to: shapes, the largest relative error, the calls that prove its path.

    ``product`` names it in words (``an int8 product``). The error is against the unquantized layer,
    or, with ``kept``, against float64 of the operands as they are quantized: ``weight`` alone or
    ``both``; then what quantizing them loses may be ``most``. ``timed``: whether it is timed.
    ``moved``: whether the large layer that is timed is quantized on the CPU, and then moved.
    """

    product: str
    shapes: Tuple[Shape, ...]
    tolerance: float
    calls: Tuple[str, ...]
    kept: str = ""
    most: float = 1.0
    timed: bool = True
    moved: bool = False


class Timed(NamedTuple):
    """The layer that is timed, quantized where it runs; some rows of its weight, and its bias."""

    model: Any
    weight: Any
    bias: Any


def recipe(name: str, device: str) -> Any:
    """Find how the installed torchao makes a layer of a format: a Recipe of _torchao.py.

    Raises _outcomes.Skipped where torchao is not installed, or has none.
    """
    made, recipes = _beside("_outcomes"), _beside("_torchao")
    try:
        return recipes.recipe(name, "cpu" if device == "cpu" else "cuda")
    except recipes.Missing as error:
        raise made.Skipped("not-shipped", str(error)) from None
    except ModuleNotFoundError as error:
        if error.name != "torchao":
            raise
        raise made.Skipped("not-installed", "torchao is not installed") from None


def judged(
    torch: Any,
    quantize: Callable[[Any], Any],
    held: Held,
    fields: Dict[str, Any],
    phase: Callable[[str], None],
) -> Dict[str, Any]:
    """Quantize a layer of each shape, compare it with float64, and ask torch how it multiplied.

    ``quantize`` is given a model of one nn.Linear; ``fields`` are those of the outcome, which is
    returned.
    """
    device = fields["device"]
    errors: List[float] = []
    lost: List[float] = []
    again: Dict[str, Callable[[], Any]] = {}
    large = None
    if held.timed:  # first: while it is quantized, nothing else needs room
        phase("quantizing the layer to be timed on " + device)
        large = to_time(torch, quantize, device, moved=held.moved)
    for shape in held.shapes:
        named = "{} x {} x {}".format(*shape)
        phase("quantizing and running {} on {}".format(named, device))
        error, away, again[named] = _one(torch, quantize, held, shape, device)
        errors.append(error)
        lost.append(away)
    times: Dict[str, float] = {}
    if large is not None:
        phase("timing on " + device)
        times = _times(torch, large, device)
    phase("asking torch what it called")
    calls = _beside("_traced").called(torch, again)
    for (named, seen), error, away in zip(calls.items(), errors, lost):
        words = "{}: relative error {:.4f} by {}".format(named, error, _words(seen))
        words += "; {:.4f} lost by quantizing".format(away) if held.kept else ""
        fields["evidence"].append(words)
    worst, most = _worst(errors), _worst(lost)
    every = dict.fromkeys(call for seen in calls.values() for call in seen)
    fields["path_taken"] = "{} on {}".format(_words(list(every)), device)
    fields["numbers"] = {
        "rel_error": lost[0], "max_rel_error": worst, "tolerance": held.tolerance,
        **times, "gpu_mib": _beside("_torch").gpu_mib(torch),
    }  # fmt: skip
    return _outcome(held, calls, (worst, most), fields)


def reference(x: Any, weight: Any, bias: Any) -> Any:
    """Compute the unquantized layer in float64."""
    return x.double() @ weight.double().t() + bias.double()


def _worst(errors: List[float]) -> float:
    return max(errors, key=lambda one: (one != one, one))  # noqa: PLR0124 - NaN is the worst


def _outcome(
    held: Held, calls: Dict[str, List[str]], errors: Tuple[float, float], fields: Dict[str, Any]
) -> Dict[str, Any]:
    """Hold the errors (of the product, of quantizing) and then the path against what is allowed."""
    made = _beside("_outcomes")
    worst, most = errors
    against = "float64 of the same operands" if held.kept else "float64"
    detail = "relative error {:.4f} against {}, at most {} allowed"
    detail = detail.format(worst, against, held.tolerance)
    if held.kept:
        detail += "; {:.3f} lost by quantizing, at most {}".format(most, held.most)
    if not (worst <= held.tolerance and most <= held.most):  # True for NaN
        return made.outcome("wrong", detail, code="wrong-value", **fields)
    slow = [
        "{} by {}".format(named, _words(seen))
        for named, seen in calls.items()
        if not (seen and all(call.startswith(held.calls) for call in seen))
    ]
    if slow:
        text = "right numbers, but not by {}: {}".format(held.product, "; ".join(slow))
        return made.outcome("wrong", text, code="silent-slow-path", **fields)
    return made.outcome("passed", detail, **fields)


def _one(
    torch: Any, quantize: Callable[[Any], Any], held: Held, shape: Shape, device: str
) -> Tuple[float, float, Callable[[], Any]]:
    """Quantize a layer and run it: (relative error, what quantizing lost, how to run it again)."""
    x, layer = _operands(torch, shape, device)
    wanted = reference(x, layer.weight, layer.bias)
    weight, bias = layer.weight.detach(), layer.bias
    exact = wanted
    if held.kept:
        kept = _kept(torch, quantize, weight)
        exact = reference(x if held.kept == "weight" else _kept(torch, quantize, x), kept, bias)
    model = _quantized(torch, quantize, layer)
    got = model(x).double()
    error, lost = (float((got - one).norm() / one.norm()) for one in (exact, wanted))
    return error, lost, lambda: model(x)


def _kept(torch: Any, quantize: Callable[[Any], Any], matrix: Any) -> Any:
    """Quantize a matrix as a layer's weight, and read off what is kept of it by unit vectors.

    Activations are quantized as weights are, by rows or blocks of rows. All formats hold ones and
    zeros exactly. Rows are repeated to whole 16s, and unit vectors taken 512 at a time.
    """
    rows, depth = matrix.shape
    repeated = matrix.repeat(WHOLE, 1) if rows < WHOLE else matrix
    layer = torch.nn.Linear(depth, repeated.shape[0], bias=False, device="meta")
    layer.weight = torch.nn.Parameter(repeated.clone(), requires_grad=False)
    model = _quantized(torch, quantize, layer)
    units = torch.zeros((UNITS, depth), dtype=matrix.dtype, device=matrix.device)
    parts = []
    for start in range(0, depth, UNITS):
        units.zero_().diagonal(start).fill_(1)
        parts.append(model(units).t()[:rows])
    return torch.cat(parts, 1)[:, :depth].double()


def to_time(torch: Any, quantize: Callable[[Any], Any], device: str, *, moved: bool) -> Timed:
    """Make and quantize the layer of the common product, 8 MiB of bfloat16.

    torchao's casts hold some formats' weights three times in float32, 48 MiB: with ``moved`` they
    do so on the CPU. What cannot be quantized there, or is left alone, is quantized where it runs.
    """
    _rows, depth, columns = _beside("_torch").timed_shape(device)
    weight, bias = (torch.randn(size) for size in ((columns, depth), columns))
    kept = weight[: _beside("_torch").CORNER[1]].bfloat16()
    model = None
    if moved and device != "cpu":
        with contextlib.suppress(Exception):
            model = _quantized(torch, quantize, _linear(torch, weight, bias, "cpu"))
            model = None if _is_plain(torch, model) else model.to(device)
    if model is None:
        model = _quantized(torch, quantize, _linear(torch, weight, bias, device))
    return Timed(model, kept, bias.bfloat16())


def _linear(torch: Any, weight: Any, bias: Any, device: str) -> Any:
    made = torch.nn.Linear(weight.shape[1], weight.shape[0], device="meta", dtype=torch.bfloat16)
    made.weight = torch.nn.Parameter(weight.bfloat16().to(device))
    made.bias = torch.nn.Parameter(bias.bfloat16().to(device))
    return made


def _is_plain(torch: Any, model: Any) -> bool:
    """Say whether quantizing left a model's layer as it was."""
    layer = model[0]
    same = type(layer) is torch.nn.Linear and type(layer.weight) is torch.nn.Parameter
    return same and layer.weight.dtype == torch.bfloat16


def _times(torch: Any, large: Timed, device: str) -> Dict[str, float]:
    """Time the layer on the common product, as it is: not compiled."""
    api = _beside("_torch")
    shape = api.timed_shape(device)
    x = torch.randn((shape[0], shape[1]), device=device, dtype=torch.bfloat16)
    weight, bias = large.weight.to(device), large.bias.to(device)
    in_float64 = lambda a, b: reference(a, b, bias[: b.shape[0]])  # noqa: E731 - it is passed on
    lost = api.corner_error(large.model(x), in_float64, x, weight)
    del weight
    return {
        "timed_rel_error": lost,
        "milliseconds": api.timed_on(torch, device, lambda: large.model(x)),
        **api.shape_numbers(shape),
    }


def _quantized(torch: Any, quantize: Callable[[Any], Any], layer: Any) -> Any:
    """Quantize a model of one layer, in place."""
    model = torch.nn.Sequential(layer).eval()
    quantize(model)
    return model


def _operands(torch: Any, shape: Shape, device: str) -> Tuple[Any, Any]:
    """Return Gaussian activations and a linear layer with Gaussian weights, bfloat16."""
    rows, depth, columns = shape
    layer = torch.nn.Linear(depth, columns, device=device, dtype=torch.bfloat16)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    return torch.randn((rows, depth), device=device, dtype=torch.bfloat16), layer


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
