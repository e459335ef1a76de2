"""Does torchao's int8 linear layer (dynamic activations, int8 weight) run here, and as int8?

The installed release's own ``quantize_`` on an nn.Linear, against float64 of the layer that was
quantized. ``plain`` are sizes that int8 products are made for, ``awkward`` one row, 17 rows and odd
sizes: there torchao may multiply otherwise without a word, on the CPU even. What was called is
asked of torch's own record.
"""

# ruff: noqa: ANN401, BLE001 - examined modules have no types, and any error is an answer

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any, Dict, Iterator

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


def phase(text: str) -> None:
    """Say what is under way; the harness puts its own in this place."""


def run(request: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield one outcome a variant, of the GPU asked for or of the CPU."""
    made, api, layers = (_beside(name) for name in ("_outcomes", "_torch", "_torchao_layer"))
    fields: Dict[str, Any] = {}
    try:
        phase("importing torch")
        torch = importlib.import_module("torch")
        api.keep_small()
        device, why = api.device(torch, int(request.get("device") or 0))
        fields.update(device=device, evidence=why)
        phase("importing torchao")
        recipe = layers.recipe("int8", device)
        why.append(recipe.words)
    except Exception as error:
        for variant in PROBE["variants"]:
            yield made.from_error(error, **dict(fields, variant=variant))
        return
    for variant in PROBE["variants"]:
        known = dict(fields, variant=variant, evidence=list(why))
        timed = variant == "plain"
        held = layers.Held("an int8 product", SHAPES[variant], TOLERANCE, INT8_CALLS, timed=timed)
        try:
            torch.manual_seed(8)
            with api.current(torch, device), torch.no_grad():
                yield layers.judged(torch, recipe.apply, held, known, phase)
        except Exception as error:
            yield made.from_error(error, **known)


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
