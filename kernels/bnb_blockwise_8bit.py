"""Does the installed bitsandbytes quantize to 8 bits in blocks, and back, as its paper says?

8-bit optimizers keep their state (Adam's two moments) in this format, and nested 4-bit weights
their scales. Reference: the dynamic map of 8-bit Optimizers via Block-wise Quantization (arXiv
2110.02861), derived here: a sign, zeros that count a decimal exponent, and in the bits that remain
the middles of equal parts of 0.1 to 1. Each value that is read back must be a level of the map
times the largest value of its block, and hardly another level nearer.
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
    "name": "bnb_blockwise_8bit",
    "title": "bitsandbytes blockwise 8-bit (optimizer state)",
    "needs": ["torch", "bitsandbytes"],
    "modes": ["run"],
    "seconds": 120,
    "memory_mib": 12288,
    "gpu_mib": 64,
    "imports": ["torch", "bitsandbytes"],
    "quick": False,
    "variants": ["dynamic", "zeros"],
    "tolerance": 3e-5,
}

TOLERANCE = 3e-5
"""How much farther than the nearest level a value may be put, in units of its block's largest one.
The CPU library of 0.50.2 was seen to put values below 2e-5 onto a level 2.1e-5 away; float32 loses
about 1e-7. Between large levels, 0.014 apart, a wrong choice is off by hundreds of times more."""
LEVEL = 1e-4
"""How far a value may be from the level it is put on, in units of that level: float32 and the
release's own float32 map lose about 3e-7; two levels are at least 0.01 of themselves apart."""
NOT_NEAREST = 1e-6
"""From here on a value that is farther than the nearest level is counted as such."""
BLOCK = 256
SIZES = (4096, 4099, 1000, 255, 17, 1)
"""Counts: whole blocks of 256; then a last block that is not full, down to a single value."""
TIMED_VALUES = 1 << 20


def phase(text: str) -> None:
    """Say what is under way; the harness puts its own in this place."""


def run(request: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield one outcome a variant, of the GPU asked for or of the CPU."""
    made, bnb, api = _beside("_outcomes"), _beside("_bnb"), _beside("_torch")
    for variant, body in (("dynamic", _examined), ("zeros", _zeros)):
        fields: Dict[str, Any] = {"variant": variant}
        try:
            phase("importing torch")
            torch = importlib.import_module("torch")
            api.keep_small()
            index = int(request.get("device") or 0)
            fields["device"], fields["evidence"] = api.device(torch, index)
            phase("importing bitsandbytes")
            module = bnb.imported(made)
            phase("quantizing {} on {}".format(variant, fields["device"]))
            torch.manual_seed(8)
            with torch.no_grad(), api.current(torch, fields["device"]):
                yield body(made, torch, module, fields)
        except (Exception, SystemExit) as error:
            yield made.from_error(error, **fields)


def dynamic_map() -> List[float]:
    """Return the 256 levels, ascending: seven decades to both sides, 0 and 1.

    In the decade 10**-i there are 64 / 2**i levels, the middles of equal parts of 0.1 to 1.
    """
    levels = [0.0, 1.0]
    for exponent in range(7):
        count = 64 >> exponent
        for part in range(count):
            level = (0.1 + 0.9 * (part + 0.5) / count) * 10.0**-exponent
            levels += [level, -level]
    return sorted(levels)


def reference(torch: Any, values: Any) -> Tuple[Any, Any]:
    """Round values to the nearest level: (float64 levels times scale, each value's scale)."""
    flat = values.double()
    blocks = -(-flat.numel() // BLOCK)
    padded = torch.zeros(blocks * BLOCK, dtype=torch.float64)
    padded[: flat.numel()] = flat
    scale = padded.view(blocks, BLOCK).abs().amax(dim=1, keepdim=True).expand(-1, BLOCK)
    scale = scale.reshape(-1)[: flat.numel()]
    levels = torch.tensor(dynamic_map(), dtype=torch.float64)
    nearest = (flat.unsqueeze(1) - levels * scale.unsqueeze(1)).abs().argmin(dim=1)
    return levels[nearest] * scale, scale


def _examined(made: Any, torch: Any, module: Any, fields: Dict[str, Any]) -> Dict[str, Any]:
    bnb, where = _beside("_bnb"), fields["device"]
    farthest, missed, stray = [], 0, 0
    with bnb.noted_calls() as calls:
        for size in SIZES:
            values = _values(torch, size).to(where)
            packed, got = _there_and_back(module, values)
            other = bnb.not_kept(torch, packed, where, torch.uint8)
            other = other or bnb.not_kept(torch, got, where, torch.float32)
            if other:
                return made.outcome("wrong", other, code="silent-slow-path", **fields)
            farther, strays = _compared(torch, values, got)
            farthest.append(float(farther.max()))
            missed += int((farther > NOT_NEAREST).sum())
            stray += int(strays.sum())
    fields["path_taken"] = bnb.called(calls)
    fields["numbers"] = {
        "values": sum(SIZES), "stray": stray, "not_nearest": missed,
        "max_abs_error": bnb.largest(farthest), "tolerance": TOLERANCE,
    }  # fmt: skip
    if stray or not bnb.largest(farthest) <= TOLERANCE:
        text = (
            "{} of {} values are on no level of the dynamic map, {} not on the nearest (by {:.2g})"
        )
        text = text.format(stray, sum(SIZES), missed, bnb.largest(farthest))
        return made.outcome("wrong", text, code="wrong-value", **fields)
    native = all(any(one.startswith(name) for one in calls) for name in _NATIVE)
    if where != "cpu" and not native:
        text = "right values, but not by the native kernels: " + bnb.called(calls)
        return made.outcome("wrong", text, code="silent-slow-path", **fields)
    fields["numbers"].update(_times(torch, module, where))
    detail = "{} values on levels of the dynamic map, {} of them not on the nearest".format(
        sum(SIZES), missed
    )
    return made.outcome("passed", detail, **fields)


def _zeros(made: Any, torch: Any, module: Any, fields: Dict[str, Any]) -> Dict[str, Any]:
    """Examine blocks of zeros, which optimizers begin with: their scale is zero too.

    A variant of its own: dividing by that scale has sent a search out of the map, and the process
    with it (0.48.2 on a CPU).
    """
    bnb, where = _beside("_bnb"), fields["device"]
    values = torch.zeros(BLOCK + 17).to(where)
    values[BLOCK:] = 1.0
    with bnb.noted_calls() as calls:
        _packed, got = _there_and_back(module, values)
    fields["path_taken"] = bnb.called(calls)
    other = bnb.not_kept(torch, got, where, torch.float32)
    if other:
        return made.outcome("wrong", other, code="silent-slow-path", **fields)
    error = float((got - values).abs().max())
    fields["numbers"] = {"max_abs_error": error, "tolerance": 0.0}
    if error == 0:  # False for NaN
        return made.outcome("passed", "a block of zeros comes back as zeros", **fields)
    text = "a block of zeros does not come back as zeros: {:.2g} off".format(error)
    return made.outcome("wrong", text, code="wrong-value", **fields)


_NATIVE = ("cquantize_blockwise", "cdequantize_blockwise")


def _there_and_back(module: Any, values: Any) -> Tuple[Any, Any]:
    functional = module.functional
    packed, state = functional.quantize_blockwise(values, blocksize=BLOCK)
    return packed, functional.dequantize_blockwise(packed, state, blocksize=BLOCK)


def _values(torch: Any, size: int) -> Any:
    """Make Gaussian values; in the second block they shrink over eight decades, as moments do."""
    values = torch.randn(size)
    if size > BLOCK:
        tail = values[BLOCK : 2 * BLOCK]
        tail *= torch.logspace(0, -8, tail.numel())
    return values


def _compared(torch: Any, values: Any, got: Any) -> Tuple[Any, Any]:
    """Compare with the map, in units of the scale: (by how much farther than the nearest, stray).

    Stray is what is on no level. The CPU libraries put -1 in the place of the lowest level, -0.993,
    for their search to stay within the map: both are levels.
    """
    nearest, scale = reference(torch, values.cpu())
    wide, there = values.cpu().double(), got.cpu().double()
    farther = ((there - wide).abs() - (nearest - wide).abs()) / scale
    levels = torch.tensor([-1.0, *dynamic_map()], dtype=torch.float64)
    gaps = (there.unsqueeze(-1) - levels * scale.unsqueeze(-1)).abs().amin(dim=-1)
    return farther, ~(gaps <= LEVEL * there.abs())


def _times(torch: Any, module: Any, where: str) -> Dict[str, float]:
    """Time the way there and back of a million values."""
    values = torch.randn(TIMED_VALUES).to(where)
    api = _beside("_torch")
    taken = api.timed_on(torch, where, lambda: _there_and_back(module, values))
    return {"milliseconds": taken, "timed_values": TIMED_VALUES, "gpu_mib": api.gpu_mib(torch)}


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
