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
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

STEP = 128
"""Depth of a tile of Hopper's own product."""
SPLIT = 6
"""Where a cut says how many blocks share the depth of a tile."""
PAIR = 2
SAME = 0.05
"""Shapes so near to one another (in logarithms) take the same."""
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
    points = [one for one in known["points"] if not _waits(one["cut"], shape, processors)]
    near = min(points, key=lambda point: _distance(point["shape"], shape))
    cut, tiles = near["cut"], near["tiles"]
    if shape[0] > known["rows_of_points"] and _distance(near["shape"], shape) > SAME:
        cut = min(known["cuts"], key=lambda one: _time(one, shape, processors))["cut"]
        tiles = None
    one, fused = near.get("few"), _fused(known["points"], shape)
    few = (one["tokens"], one["split"]) if one else None
    way = (tuple(fused["way"][0]), *fused["way"][1:]) if fused else None
    cut, tiles = cut and tuple(cut), tiles and tuple(tiles)
    chunks = near.get("chunks") if _distance(near["shape"], shape) <= SAME else None
    chunks = tuple(chunks["way"]) if chunks else None
    return Choice(cut, known["arch"], tiles, bool(known["overlap"]), few, way, chunks)


def _fused(points: List[Dict[str, Any]], shape: Shape) -> Optional[Dict[str, Any]]:
    """Say how one launch takes many rows of such a layer: as at the nearest of its points.

    Its rows begin with the least for which it was faster: what it costs, the rows that must be
    there before the first product, weighs less the more there are.
    """
    rows, layer = shape[0], list(shape[1:])
    of_layer = [point for point in points if point["shape"][1:] == layer]
    least = min((point["shape"][0] for point in of_layer if "fused" in point), default=math.inf)
    if rows < least * (1 - SAME):
        return None
    near = min(of_layer, key=lambda point: _distance(point["shape"], shape))
    found: Optional[Dict[str, Any]] = near.get("fused")
    return found


def _distance(point: List[int], shape: Shape) -> float:
    """How far apart two shapes are: in rows and columns more than in depth."""
    rows, depth, columns = (abs(math.log(a / b)) for a, b in zip(point, shape))  # noqa: B905
    return rows + columns + depth / 2


def _waits(cut: Optional[List[Any]], shape: Shape, processors: int) -> bool:
    """Say whether some of the clusters that share a tile's depth would wait for others to end.

    Those of more than two blocks leave multiprocessors idle: of 132 on an H100 (2026-11-23) 30
    clusters of 4, 20 of 5 and 14 of 8 ran at once, 40 of 3, 32 of 4, 24 of 5 and 16 of 7 or 8 did
    not, which took up to twice as long.
    """
    if cut is None or len(cut) <= SPLIT:
        return False
    high, wide = _counts(cut, shape)
    most = processors if cut[SPLIT] == PAIR else processors * 5 // 6
    return bool(high * wide * cut[SPLIT] > most)


def _counts(cut: List[Any], shape: Shape) -> Tuple[int, int]:
    """Count the tiles, one above the other and one beside the other."""
    m64, n, _, pingpong = cut[:4]
    return -(-shape[0] // (64 * m64 * (1 if pingpong else 2))), -(-shape[2] // n)


def _time(one: Dict[str, Any], shape: Shape, processors: int) -> float:
    """Estimate microseconds: waves of tiles, each with a step for every 128 of depth."""
    cluster, share_b = one["cut"][4:]
    high, wide = _counts(one["cut"], shape)
    if share_b:
        high = -(-high // cluster)
    else:
        wide = -(-wide // cluster)
    waves = -(-high * wide // (processors // cluster))
    return float(waves * (one["tile_us"] + -(-shape[1] // STEP) * one["step_us"]))


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
