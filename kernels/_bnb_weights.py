"""4-bit weights of the installed bitsandbytes, and what they should be.

The codebooks: nf4 is made of quantiles of the normal distribution (QLoRA, arXiv 2305.14314, section
3 and appendix E); fp4 is a sign, two bits of exponent and one of mantissa (2, 3, 4, 6, 8, 12), with
0 and 1/16 in place of the lowest exponent (bitsandbytes' documentation of ``get_4bit_type``),
divided by 12. Python 3.8 syntax, standard library only; torch and bitsandbytes come as arguments.
"""

# ruff: noqa: ANN401 - examined modules have no types
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from statistics import NormalDist
from typing import Any, List, NamedTuple, Optional, Tuple

LEVEL = 1e-4
"""How far a level may be off, in units of the block's largest value: below a fiftieth of the
smallest gap between levels (0.0052, fp4's), above what four printed digits lose (0.0052083)."""
NESTED = 0.008
"""Scales that are quantized again are off by at most half the largest step of the 8-bit dynamic map
(0.9 / 64 / 2 = 0.007 of the largest scale's distance to their mean)."""
BLOCK = 64
"""Weights that share a scale: what transformers asks for, and bitsandbytes' own default."""


class Setting(NamedTuple):
    """One variant on one device: ``nested`` quantizes the scales again; ``dtype`` of the layer."""

    kind: str
    nested: bool
    dtype: Any
    where: str


def codebook(kind: str) -> List[float]:
    """Return the 16 levels of ``nf4`` or ``fp4``, ascending, the largest being 1.

    nf4: 8 quantiles for the positive half and 7 for the negative, evenly spaced in probability
    from 1/2 to the mean of 1 - 1/30 and 1 - 1/32 (the outermost of 15 and of 16 equal parts, cut
    in their middle), and 0.
    """
    if kind == "fp4":
        positive = [value / 12 for value in (0.0625, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)]
        return sorted([0.0, 0.0, *positive, *(-value for value in positive)])
    outermost = 1 - (1 / 30 + 1 / 32) / 2
    quantile = NormalDist().inv_cdf
    largest = quantile(outermost)

    def half(count: int) -> List[float]:
        step = (outermost - 0.5) / count
        return [quantile(outermost - step * i) / largest for i in range(count)]

    return sorted([0.0, *half(8), *(-value for value in half(7))])


def reference(torch: Any, weight: Any, kind: str) -> Tuple[Any, Any]:
    """Round a weight to the nearest level of its block: (float64 values, each one's scale)."""
    flat = weight.double().reshape(-1)
    blocks = -(-flat.numel() // BLOCK)
    padded = torch.zeros(blocks * BLOCK, dtype=torch.float64)
    padded[: flat.numel()] = flat
    scale = padded.view(blocks, BLOCK).abs().amax(dim=1, keepdim=True).expand(-1, BLOCK)
    scale = scale.reshape(-1)[: flat.numel()]
    levels = torch.tensor(codebook(kind), dtype=torch.float64)
    nearest = (flat.unsqueeze(1) - levels * scale.unsqueeze(1)).abs().argmin(dim=1)
    return (levels[nearest] * scale).view(weight.shape), scale.view(weight.shape)


def off(torch: Any, weight: Any, got: Any, setting: Setting) -> Optional[str]:
    """Compare values read back with the nearest levels: each on a level, none farther than it."""
    nearest, scale = reference(torch, weight, setting.kind)
    slack = LEVEL * scale
    if setting.nested:
        slack = slack + NESTED * scale.max()
    farther = (got.double() - weight.double()).abs() - (nearest - weight.double()).abs() > slack
    levels = torch.tensor(codebook(setting.kind), dtype=torch.float64)
    gaps = (got.double().unsqueeze(-1) - levels * scale.unsqueeze(-1)).abs().amin(dim=-1)
    stray = ~(gaps <= slack)  # not a number is stray as well
    bad = int((farther | stray).sum())
    if not bad:
        return None
    text = "{} of {} values are not the nearest of the published levels; the worst is {:.4f} off"
    return text.format(bad, got.numel(), float((gaps / scale).max()))


def layer(torch: Any, module: Any, values: Tuple[Any, Any], setting: Setting) -> Any:
    """Make a Linear4bit of a half-precision weight and bias, as a model's weights are loaded."""
    weight, bias = values
    made = module.nn.Linear4bit(
        weight.shape[1], weight.shape[0], bias=True, compute_dtype=setting.dtype,
        compress_statistics=setting.nested, quant_type=setting.kind,
    )  # fmt: skip
    made.weight.data = weight
    made.bias.data = bias
    return made.to(torch.device(setting.where)).eval()


def dequantized(module: Any, made: Any, size: Tuple[int, int]) -> Any:
    """Read the layer's weight back; a CPU layer packs it otherwise at its first forward."""
    weight = made.weight
    return module.functional.dequantize_4bit(weight.data, weight.quant_state).reshape(size)


def data(torch: Any, shape: Tuple[int, int, int], setting: Setting) -> Tuple[Any, ...]:
    """Make Gaussian x, weight and bias; the weight's values are exact in both half formats."""
    rows, depth, columns = shape
    x = torch.randn((rows, depth)).to(setting.dtype).to(setting.where)
    weight = torch.randn((columns, depth)).bfloat16().to(setting.dtype)
    return x, weight, torch.randn(columns).to(setting.dtype)
