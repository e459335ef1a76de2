"""4-bit weights whose rows are not whole blocks: read back, and multiplied by.

A block of 64 weights has one scale, and runs on into the next row where a row ends within it. A
kernel that looks for a row's scales as if each row began with a block takes other blocks' scales,
and nothing complains; releases were seen to do so for rows of whole 16s, which they unpack by
vectors of 16. Python 3.8 syntax, standard library only; torch and bitsandbytes come as arguments.
"""

# ruff: noqa: ANN401 - examined modules have no types

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple, Tuple

ROWS = 64
"""So many rows make whole blocks of any depth: some releases take nothing else on a CPU."""
DEPTHS = (16, 36, 48, 80, 96, 130, 200, 272)
"""Values in a row: less than a block and more; whole 16s, 8s, 4s and 2s."""
LAYERS = ((5, 96, 128), (1, 80, 128), (33, 272, 96), (5, 130, 64), (5, 192, 65))
"""Rows of activations, depth, columns: the last has whole blocks, and an odd count of columns."""
MODES = ("eval", "train")
"""Of a layer: only in eval mode do some releases keep the weight in an order of its own."""


class Tried(NamedTuple):
    """Relative errors by size: of what is right, and of what is wrong."""

    right: Dict[str, float]
    wrong: Dict[str, float]

    def worst(self) -> float:
        """Return the largest error; 0 where nothing ran."""
        errors = [*self.right.values(), *self.wrong.values()]
        return float(_beside("_bnb").largest(errors)) if errors else 0.0

    def told(self, what: str) -> str:
        """Say which sizes are wrong and which are right, ``what`` being what was done with them."""
        parts = []
        if self.wrong:
            worst = _beside("_bnb").largest(list(self.wrong.values()))
            named = ", ".join(self.wrong)
            parts.append("wrong for {} (relative error up to {:.2g})".format(named, worst))
        if self.right:
            parts.append("right for {}".format(", ".join(self.right)))
        return "{}: {}".format(what, ", ".join(parts)) if parts else ""


def examined(
    torch: Any, module: Any, setting: Any, fields: Dict[str, Any], tolerance: float
) -> Dict[str, Any]:
    """Try all sizes and judge them: an outcome. ``tolerance`` is a layer's relative error."""
    made = _beside("_outcomes")
    read = _all(fields, _reads(torch, module, setting))
    layers = _all(fields, _layers(torch, module, setting, tolerance))
    fields["numbers"] = {
        "max_rel_error": layers.worst(),
        "tolerance": tolerance,
        "sizes": len(read.right) + len(read.wrong) + len(layers.right) + len(layers.wrong),
        "wrong_sizes": len(read.wrong) + len(layers.wrong),
    }
    told = [read.told("weights read back, by the length of a row"), layers.told("Linear4bit")]
    detail = "; ".join(one for one in told if one)
    if read.wrong or layers.wrong:
        return dict(made.outcome("wrong", detail, code="wrong-value", **fields))
    return dict(made.outcome("passed", detail, **fields))


Trial = Callable[[], Tuple[float, bool]]
"""One size: its relative error, and whether it is right."""


def _all(fields: Dict[str, Any], trials: Dict[str, Trial]) -> Tried:
    """Run each; keep a release's words where it refuses a size on a CPU, unless it refuses all."""
    tried, refused = Tried({}, {}), 0
    for name, trial in trials.items():
        try:
            error, right = trial()
        except (AssertionError, RuntimeError) as refusal:  # noqa: PERF203 - each for itself
            refused += 1
            if fields["device"] != "cpu" or refused == len(trials):
                raise
            text = "{} on the CPU: {}: {}"
            words = text.format(name, type(refusal).__name__, refusal)
            fields["evidence"] = [*fields["evidence"], words]
        else:
            (tried.right if right else tried.wrong)[name] = error
    return tried


def _reads(torch: Any, module: Any, setting: Any) -> Dict[str, Trial]:
    """Quantize float32 weights and read them back, value by value as the codebook says."""
    weights = _beside("_bnb_weights")

    def trial(depth: int) -> Tuple[float, bool]:
        weight = torch.randn((ROWS, depth))
        packed, state = module.functional.quantize_4bit(
            weight.to(setting.where), blocksize=weights.BLOCK, quant_type=setting.kind
        )
        got = module.functional.dequantize_4bit(packed, state).cpu().reshape(weight.shape)
        nearest, _scale = weights.reference(torch, weight, setting.kind)
        error = _beside("_bnb").relative_error(got, nearest)
        return error, weights.off(torch, weight, got, setting) is None

    return {str(depth): lambda depth=depth: trial(depth) for depth in DEPTHS}  # type: ignore[misc]


def _layers(torch: Any, module: Any, setting: Any, tolerance: float) -> Dict[str, Trial]:
    """Multiply by Linear4bit, against float64 of the weight as it should have been kept.

    The weight is on its levels beforehand: a value of few digits may lie halfway between two, and
    both are then right.
    """
    bnb, weights = _beside("_bnb"), _beside("_bnb_weights")

    def trial(shape: Tuple[int, int, int], mode: str) -> Tuple[float, bool]:
        x, drawn, bias = weights.data(torch, shape, setting)
        weight = weights.reference(torch, drawn, setting.kind)[0].to(setting.dtype)
        kept = weights.reference(torch, weight, setting.kind)[0]
        layer = weights.layer(torch, module, (weight, bias), setting)
        got = layer.train(mode == "train")(x)
        error = bnb.relative_error(got, bnb.product(x, kept, bias))
        return error, error <= tolerance

    return {
        "{} -> {} ({})".format(shape[1], shape[2], mode): lambda one=(shape, mode): trial(*one)  # type: ignore[misc]
        for shape in LAYERS
        for mode in MODES
    }


def _beside(name: str) -> Any:
    module = sys.modules.get("qdoctor_kernel_" + name)
    if module is None:
        path = Path(__file__).resolve().with_name(name + ".py")
        spec = importlib.util.spec_from_file_location("qdoctor_kernel_" + name, str(path))
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        sys.modules[spec.name] = module  # type: ignore[union-attr]
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module
