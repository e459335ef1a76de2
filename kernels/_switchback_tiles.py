"""How SwitchBack's product is cut on a GPU: matrix/tables/switchback_tiles.json, and safe defaults.

``cuts`` there say what a wave of tiles of Hopper's own product takes, none of them with a split
depth; ``points`` say what was the fastest for fewer rows, and where one launch does it all. Nothing
is tried out here.
Python 3.8 syntax, standard library only.
"""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

STEP = 128
"""Depth of a tile of Hopper's own product."""
SPLIT = 6
"""Where a cut says how many blocks share the depth of a tile."""
PAIR = 2
SAME = 0.05
"""Shapes so near to one another (in logarithms) take the same."""
LIKE = math.log(2)
"""A shape of few rows takes what one so much farther has, where the nearest does not suit it."""
Shape = Tuple[int, int, int]
"""Rows, depth, columns."""


class Choice(NamedTuple):
    """What to multiply with: a cut of Hopper's own product (and its arch), or Triton's tiles.

    cut: the fields of _switchback_hopper.Cut; tiles: those of _switchback_triton.Tiles; None: what
    is safe. overlap: the product is launched before its predecessor ended. few: tokens and split of
    _switchback_few.Way, where one launch for few rows is better than either; fused: the fields of
    _switchback_fused.Way, where one launch for many rows is; chunks: those of
    _switchback_chunks.Way, where one launch for about so many rows is.
    """

    cut: Optional[Tuple[int, ...]]
    arch: str
    tiles: Optional[Tuple[int, ...]]
    overlap: bool
    few: Optional[Tuple[int, int]] = None
    fused: Optional[Tuple[Any, ...]] = None
    chunks: Optional[Tuple[int, ...]] = None


NOTHING_KNOWN = Choice(None, "", None, overlap=False)


def choose(sm: str, shape: Shape, processors: int) -> Choice:
    """Choose for a GPU of that SM ("9.0") with so many multiprocessors."""
    known = table().get(sm)
    if known is None:
        return NOTHING_KNOWN
    near = _near(known, shape, processors)
    if near is None:
        near = {"cut": _least(known, shape, processors), "tiles": None}
    cut, tiles = near["cut"] and tuple(near["cut"]), near["tiles"] and tuple(near["tiles"])
    few = (near["few"]["tokens"], near["few"]["split"]) if "few" in near else None
    chunks, fused = _chunks(known, shape, processors), _fused(known, shape, processors)
    return Choice(cut, known["arch"], tiles, bool(known["overlap"]), few, fused, chunks)


def _near(known: Dict[str, Any], shape: Shape, processors: int) -> Optional[Dict[str, Any]]:
    """Return the point whose cut or tiles a shape takes: the nearest one that suits it.

    For many rows it must be nearly the same shape. For few it may be any, but where it does not
    suit, another must be little farther.
    """
    many = shape[0] > known["rows_of_points"]
    points: List[Dict[str, Any]] = sorted(
        known["points"], key=lambda point: _distance(point["shape"], shape)
    )
    reach = SAME if many else math.inf
    for point in points:
        distance = _distance(point["shape"], shape)
        if distance > reach:
            break
        if _suits(known, point, shape, processors):
            return point
        reach = min(reach, distance + LIKE)
    return None


def _suits(known: Dict[str, Any], point: Dict[str, Any], shape: Shape, processors: int) -> bool:
    """Say whether a point's cut needs no more waves of tiles for a shape than for its own.

    A few rows more can make twice the waves. Where blocks share the depth, none may wait. Of
    Triton's tiles there may be no more above one another: they are for few rows.
    """
    cut = point["cut"]
    if cut is None:
        high = point["tiles"][0]
        return bool(-(-shape[0] // high) <= -(-point["shape"][0] // high))
    if len(cut) > SPLIT:
        return not _waits(known, cut, shape, processors)
    return _waves(known, cut, shape, processors) <= _waves(known, cut, point["shape"], processors)


def _least(known: Dict[str, Any], shape: Shape, processors: int) -> List[Any]:
    """Return the cut whose waves are estimated to be the shortest."""
    cut: List[Any] = min(known["cuts"], key=lambda one: _time(known, one, shape, processors))["cut"]
    return cut


def _chunks(known: Dict[str, Any], shape: Shape, processors: int) -> Optional[Tuple[int, ...]]:
    """Say how one launch takes nearly as many rows as a point's: while one wave has all tiles."""
    ways = [
        point for point in known["points"]
        if "chunks" in point and _distance(point["shape"], shape) <= SAME
    ]  # fmt: skip
    for point in sorted(ways, key=lambda point: _distance(point["shape"], shape)):
        way = tuple(point["chunks"]["way"])
        # As _switchback_chunks.Way has it: both groups share a tile, two blocks share B.
        if _waves(known, (*way[:3], False, 2, True), shape, processors) == 1:
            return way
    return None


def _fused(known: Dict[str, Any], shape: Shape, processors: int) -> Optional[Tuple[Any, ...]]:
    """Say how one launch takes many rows of such a layer: as at the nearest point that has one.

    Its rows begin with the least for which it was faster: what it costs, the rows that must be
    there before the first product, weighs less the more there are. It is not taken where nearly
    such a shape has none, nor where its tiles fill their last wave worse than another cut's, and
    that costs more than it gains.
    """
    rows, layer = shape[0], list(shape[1:])
    of_layer = [point for point in known["points"] if point["shape"][1:] == layer]
    least = min((point["shape"][0] for point in of_layer if "fused" in point), default=math.inf)
    if rows < least * (1 - SAME):
        return None
    of_layer.sort(key=lambda point: _distance(point["shape"], shape))
    if "fused" not in of_layer[0] and _distance(of_layer[0]["shape"], shape) <= SAME:
        return None
    near = next(point for point in of_layer if "fused" in point)
    found = near["fused"]
    way = (tuple(found["way"][0]), *found["way"][1:])
    gain = (found["beside_us"] - found["us"]) * rows / near["shape"][0]
    more = _excess(known, way[0], shape, processors)
    more -= _excess(known, way[0], near["shape"], processors)
    return way if more <= gain else None


def _excess(
    known: Dict[str, Any], cut: Tuple[Any, ...], shape: Sequence[int], processors: int
) -> float:
    """Estimate how much longer than the best cut's a cut's waves are; 0 if nothing is known."""
    times = {tuple(one["cut"]): _time(known, one, shape, processors) for one in known["cuts"]}
    return float(times[cut] - min(times.values())) if cut in times else 0.0


def _distance(point: Sequence[int], shape: Shape) -> float:
    """How far apart two shapes are: in rows and columns more than in depth."""
    rows, depth, columns = (abs(math.log(a / b)) for a, b in zip(point, shape))  # noqa: B905
    return rows + columns + depth / 2


def _waits(known: Dict[str, Any], cut: Sequence[int], shape: Shape, processors: int) -> bool:
    """Say whether some of the clusters that share a tile's depth would wait for others to end."""
    if len(cut) <= SPLIT:
        return False
    high, wide = _counts(cut, shape)
    return high * wide > _at_once(known, cut[SPLIT], processors)


def _at_once(known: Dict[str, Any], blocks: int, processors: int) -> int:
    """Count the clusters of so many blocks that run at once.

    Those of more than two leave multiprocessors idle: a part of a GPU holds whole ones.
    """
    part, whole = (1, 1) if blocks <= PAIR else known["clustered"]
    return int(processors * part // whole // blocks)


def _counts(cut: Sequence[Any], shape: Sequence[int]) -> Tuple[int, int]:
    """Count the tiles, one above the other and one beside the other."""
    m64, n, _, pingpong = cut[:4]
    return -(-shape[0] // (64 * m64 * (1 if pingpong else 2))), -(-shape[2] // n)


def _waves(known: Dict[str, Any], cut: Sequence[Any], shape: Sequence[int], processors: int) -> int:
    """Count the tiles one after the other that a multiprocessor multiplies, at most."""
    cluster, share_b = cut[4:]
    high, wide = _counts(cut, shape)
    if share_b:
        high = -(-high // cluster)
    else:
        wide = -(-wide // cluster)
    return -(-high * wide // _at_once(known, cluster, processors))


def _time(
    known: Dict[str, Any], one: Dict[str, Any], shape: Sequence[int], processors: int
) -> float:
    """Estimate microseconds: waves of tiles, each with a step for every 128 of depth."""
    waves, steps = _waves(known, one["cut"], shape, processors), -(-shape[1] // STEP)
    return float(waves * (one["tile_us"] + steps * one["step_us"]))


@functools.lru_cache(maxsize=None)
def table() -> Dict[str, Any]:
    """Read the table, by SM; empty where it is not beside the kernels, or not readable."""
    folder = Path(__file__).resolve().parent
    matrix = folder.with_name(folder.name.replace("kernels", "matrix"))
    try:
        text = (matrix / "tables" / "switchback_tiles.json").read_text(encoding="utf-8")
        return {row["sm"]: row for row in json.loads(text)["rows"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
