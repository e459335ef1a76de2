"""Do torchao's layers of today's other formats run here, and as what they are called?

fp8 (activations cast as they come), int4 weights, MXFP4 and NVFP4: the installed release's own
``quantize_`` on an nn.Linear, against float64 of its operands as they are quantized, and of the
unquantized. torchao may leave a layer alone without a word, and can emulate some formats in half
precision: what was called is asked of torch's own record.
"""

# ruff: noqa: ANN401, BLE001 - examined modules have no types, and any error is an answer

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, NamedTuple, Tuple

PROBE = {  # type: Dict[str, Any]
    "name": "torchao_formats",
    "title": "torchao linear layers: fp8, int4, MXFP4, NVFP4",
    "imports": ["torch", "torchao"],
    "needs": ["torch", "torchao"],
    "modes": ["run"],
    "seconds": 180,
    "memory_mib": 12288,
    "gpu_mib": 96,  # 84 were measured; by accounting it is 62 since, which no GPU has confirmed
    "quick": False,
    "variants": ["fp8", "int4", "mxfp4", "nvfp4"],
    "tolerance": 0.008,
}

TOLERANCE = 0.008
"""Relative error against float64 of the operands as they are quantized. They are read off rounded
to bfloat16, as the result is: 2**-9 = 0.002 at most, 0.0017 each in the mean of squares, 0.003 for
three; the rest is for sums of fewer bits."""

SHAPES = ((256, 1024, 768), (32, 4096, 128), (1, 1280, 512))
"""Rows, depth, columns: whole groups of 128, blocks of 32 and 16 columns, as all formats ask."""


class Format(NamedTuple):
    """What quantizing to a format may lose, and the operators that prove it.

    ``kept``: which operands are quantized; ``moved``: whether the layer that is timed can be
    quantized on the CPU. Weights packed for the GPU's own product cannot.
    """

    product: str
    most: float
    calls: Tuple[str, ...]
    kept: str = "both"
    moved: bool = True


FORMATS = {
    "fp8": Format(
        "an fp8 product",
        0.045,  # rounding to 3 bits of mantissa loses 0.026 an operand, 0.037 for two
        ("aten::_scaled_mm", "torchao::", "mslk::", "fbgemm::"),
    ),
    "int4": Format(
        "an int4 weight's product",
        0.115,  # 128 Gaussians span 5.2 deviations: a step of 5.2 / 15, over sqrt(12), is 0.100
        ("aten::_weight_int4pack_mm", "torchao::", "mslk::", "fbgemm::"),
        kept="weight",
        moved=False,
    ),
    "mxfp4": Format(
        "an MXFP4 product",
        0.18,  # e2m1 with power-of-two scales loses 0.115 an operand (torchao's emulation: 0.163)
        ("aten::_scaled_mm", "torchao::", "mslk::"),
    ),
    "nvfp4": Format(
        "an NVFP4 product",
        0.15,  # e2m1 with e4m3 scales for each 16 loses 0.095 an operand, 0.134 for two
        ("aten::_scaled_mm", "torchao::", "mslk::"),
    ),
}


def phase(text: str) -> None:
    """Say what is under way; the harness puts its own in this place."""


def run(request: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield one outcome a format, of the GPU asked for or of the CPU."""
    made, api = _beside("_outcomes"), _beside("_torch")
    fields: Dict[str, Any] = {}
    try:
        phase("importing torch")
        torch = importlib.import_module("torch")
        api.keep_small()
        device, why = api.device(torch, int(request.get("device") or 0))
        fields.update(device=device, evidence=why)
    except Exception as error:
        for variant in PROBE["variants"]:
            yield made.from_error(error, **dict(fields, variant=variant))
        return
    for variant in PROBE["variants"]:
        known = dict(fields, variant=variant, evidence=list(why))
        try:
            yield _judged(torch, variant, known)
        except Exception as error:
            yield made.from_error(error, **known)


def _judged(torch: Any, variant: str, fields: Dict[str, Any]) -> Dict[str, Any]:
    """Quantize to one format and hold it to what it may lose."""
    layers, device = _beside("_torchao_layer"), fields["device"]
    phase("importing torchao")
    recipe = layers.recipe(variant, device)
    fields["evidence"].append(recipe.words)
    one = FORMATS[variant]
    held = layers.Held(
        one.product, SHAPES, TOLERANCE, one.calls, one.kept, one.most, moved=one.moved
    )
    torch.manual_seed(8)
    _beside("_torch").start_afresh(torch)
    with _beside("_torch").current(torch, device), torch.no_grad():
        outcome: Dict[str, Any] = layers.judged(torch, recipe.apply, held, fields, phase)
    return outcome


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
