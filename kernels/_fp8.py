"""fp8 numbers and casts to them, in exact fractions: ``e4m3`` and ``e5m2``.

Source: OCP, "8-bit Floating Point Specification (OFP8)", revision 1.0. The nearest number is taken,
ties go to the even mantissa. What becomes of numbers past the largest it leaves open: the largest
itself (saturating), or else infinity in e5m2 and NaN in e4m3. Python 3.8, standard library only.
"""

# ruff: noqa: B905 - Python 3.8 knows no strict zip

from __future__ import annotations

import math
import struct
from bisect import bisect_left
from fractions import Fraction
from functools import lru_cache
from typing import List, NamedTuple, Tuple


class Format(NamedTuple):
    """An fp8 format of OFP8: mantissa bits, exponent bias, whether it has infinities."""

    mantissa: int
    bias: int
    infinities: bool


FORMATS = {
    "e4m3": Format(3, 7, infinities=False),
    "e5m2": Format(2, 15, infinities=True),
}


def decode(bits: int, name: str) -> float:
    """Give the number that a byte (0 to 255) stands for: exact in float32, or inf, or NaN."""
    kind = FORMATS[name]
    exponent, mantissa = (bits & 0x7F) >> kind.mantissa, bits & ((1 << kind.mantissa) - 1)
    sign = -1.0 if bits & 0x80 else 1.0
    if (bits & 0x7F) > _largest(kind):
        return sign * math.inf if kind.infinities and not mantissa else math.nan
    if exponent:
        return sign * math.ldexp(mantissa + (1 << kind.mantissa), _scale(exponent, kind))
    return sign * math.ldexp(mantissa, _scale(1, kind))


def _largest(kind: Format) -> int:
    """Give the bits of the largest finite number: 448 in e4m3, 57344 in e5m2."""
    return 0x7B if kind.infinities else 0x7E


def encode(value: float, name: str) -> List[int]:
    """Give the bytes that are right for a number: one, but two past the largest, and all NaNs.

    Past the largest the saturating one comes first.
    """
    if math.isnan(value):
        return [bits for bits in range(256) if math.isnan(decode(bits, name))]
    sign = 0x80 if math.copysign(1.0, value) < 0 else 0
    ladder = _ladder(name)
    step = ladder[-1] - ladder[-2]
    if math.isinf(value) or Fraction(abs(value)) >= ladder[-1] + step / 2:
        return [sign | (len(ladder) - 1), *_past_largest(sign, FORMATS[name])]
    return [sign | _nearest(Fraction(abs(value)), ladder)]


@lru_cache(maxsize=None)
def _ladder(name: str) -> Tuple[Fraction, ...]:
    """List the finite numbers from 0 on; their places are their bytes."""
    largest = _largest(FORMATS[name])
    return tuple(Fraction(decode(bits, name)) for bits in range(largest + 1))


def _past_largest(sign: int, kind: Format) -> List[int]:
    return [sign | 0x7C] if kind.infinities else [0x7F, 0xFF]


def _nearest(size: Fraction, ladder: Tuple[Fraction, ...]) -> int:
    above = bisect_left(ladder, size)
    if above == len(ladder):
        return above - 1  # within half a step of the largest
    if above == 0:
        return 0
    left, right = size - ladder[above - 1], ladder[above] - size
    if left == right:
        return above - (above & 1)
    return above if right < left else above - 1


def _scale(exponent: int, kind: Format) -> int:
    return exponent - kind.bias - kind.mantissa


def values(name: str, source: str) -> List[float]:
    """List what is cast: all fp8 numbers, ties and their neighbours, what is past the ends.

    All are exact in ``source``, the neighbours being its own.
    """
    finite = [float(size) for size in _ladder(name)]
    step = finite[-1] - finite[-2]
    ties = [(low + high) / 2 for low, high in zip(finite, [*finite[1:], finite[-1] + step])]
    sizes = [*finite, *ties, *(_neighbour(tie, way, source) for tie in ties for way in (-1, 1))]
    sizes += [finite[1] / 4, finite[-1] * 1.5, finite[-1] * 1024, 2.0**-126, math.inf]
    return [*sizes, *(-size for size in sizes), math.nan]


def _neighbour(value: float, way: int, source: str) -> float:
    unit = 1 << 16 if source == "bfloat16" else 1
    bits = struct.unpack("<I", struct.pack("<f", value))[0] + way * unit
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


def by_float16(value: float, name: str) -> List[int]:
    """Give the bytes that are right for a number that is rounded to float16 first."""
    try:
        return encode(struct.unpack("<e", struct.pack("<e", value))[0], name)
    except OverflowError:  # past float16's largest
        return encode(math.copysign(math.inf, value), name)


def same(got: float, wanted: float) -> bool:
    """Say whether two numbers are the same, by sign too; any NaN is any other."""
    if math.isnan(wanted):
        return math.isnan(got)
    return got == wanted and math.copysign(1.0, got) == math.copysign(1.0, wanted)
