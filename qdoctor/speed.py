"""How two measured times compare, where they may be compared at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qdoctor.model import Observation

_SHAPE = ("rows", "depth", "columns")


def speedup(seen: Observation, half: Observation | None) -> float | None:
    """Return how many times faster than half precision a probe multiplied; below 1, slower.

    None unless both multiplied the same shape on the same device, and half's product was right.
    """
    if half is None or half.outcome != "passed" or half.device != seen.device:
        return None
    shapes = [[one.numbers.get(key) for key in _SHAPE] for one in (seen, half)]
    times = [one.numbers.get("milliseconds") for one in (half, seen)]
    if shapes[0] != shapes[1] or None in shapes[0] or not times[0] or not times[1]:
        return None
    return times[0] / times[1]
