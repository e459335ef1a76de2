"""How SwitchBack's int8 product is best cut on this GPU: its row of switchback_tiles.json.

Every candidate (cuts of kernels/_switchback_hopper.cu, where it serves, and Triton's tiles) is
timed with the quantization of the rows before it, and so is each way of the kernels for few and for
many rows, which quantize themselves, beside torch.nn.Linear in bf16: CUDA events, contenders in
random order, more memory than any cache holds read before each, median. Results must be those of
the first candidate, bit for bit.

With ``--check`` no row is made: each shape is timed twice, and what matrix/tables/switchback_tiles
holds for it is compared with the best of each time.

Usage: ``python benchmarks/switchback_tiles.py ROW.json [--arch sm_90a] [--rows 1 16 ...]
[--shapes 1024x4096 ...] [--repetitions 13]``, or ``--check [--points 1x1024x4096 ...]``. Needs a
CUDA GPU; an H100 takes three minutes for all.
"""

# ruff: noqa: ANN401, E402 - torch is untyped here, and imported on demand; see sys.path

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

_ROOT = str(Path(__file__).resolve().parent.parent)
if sys.path[0] != _ROOT:  # in place of this folder, whose inspect.py is not the library's
    sys.path[:1] = [_ROOT]

from benchmarks._switchback_tried import (
    CUTS,
    FEW_ROWS,
    MANY_ROWS,
    SPLIT_CUTS,
    Shape,
    contenders,
    known_of_hopper,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = (1, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 16384)
SHAPES = (
    "1024x4096",
    "4096x1024",
    "1280x5120",
    "5120x1280",
    "4096x4096",
    "4096x16384",
    "8192x8192",
)
FEW, MANY = 512, 512
"""Up to FEW rows a shape takes what its neighbour has; from MANY on, waves of tiles are fitted."""
READ_FLOATS = 96 * 2**20
LAUNCH_US = 4.0
"""What two events around the shortest kernel tell: no part of a wave."""
KEPT = 8
NOISE = 0.03
"""Two medians of the same differ by as much."""
TABLE = Path(_ROOT) / "matrix" / "tables" / "switchback_tiles.json"
Times = dict[Any, float]


class Measured(NamedTuple):
    """Of each candidate: the median of its microseconds, and their spread.

    That is half the distance between the 10th and the 90th percentile, as a part of the median.
    """

    us: Times
    spread: Times


def main() -> None:
    """Measure every shape, print the best of each, write the row."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("row", type=Path, nargs="?", help="the file to write")
    parser.add_argument("--check", action="store_true", help="compare with the table's choices")
    parser.add_argument("--points", nargs="+", default=[], metavar="MxKxN", type=_shape)
    parser.add_argument("--arch", default="sm_90a")
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="KxN")
    parser.add_argument("--repetitions", type=int, default=13)
    options = parser.parse_args()
    if (options.row is None) is not options.check:
        parser.error("name the file to write, or --check")
    import torch

    if not torch.cuda.is_available():
        sys.exit("needs a CUDA GPU")
    torch.set_grad_enabled(False)
    layers = [tuple(int(word) for word in words.split("x")) for words in options.shapes]
    shapes = options.points or [(rows, *layer) for layer in layers for rows in options.rows]
    if options.check:
        check(torch, shapes, options)
        return
    measured: dict[Shape, Measured] = {}
    for shape in shapes:
        calls = contenders(torch, shape, options.arch)
        measured[shape] = times(torch, calls, options.repetitions)
        point = _point(shape, measured[shape])
        print(*point.values(), flush=True)
    properties = torch.cuda.get_device_properties(0)
    made = row(measured, properties.multi_processor_count)
    sm = f"{properties.major}.{properties.minor}"
    limit = properties.shared_memory_per_block_optin
    text = json.dumps({"sm": sm, "arch": options.arch, "shared_bytes": limit, **made}, indent=1)
    options.row.write_text(text + "\n", encoding="utf-8")


def _shape(text: str) -> Shape:
    words = text.split("x")
    if len(words) != len(("rows", "depth", "columns")) or not all(
        word.isdigit() and int(word) for word in words
    ):
        raise argparse.ArgumentTypeError(f"{text!r} is not like 16x1024x4096")
    rows, depth, columns = map(int, words)
    return rows, depth, columns


def check(torch: Any, shapes: list[Shape], options: Any) -> None:
    """Time each shape twice, and print what the table's choice for it loses against the best."""
    major, minor = torch.cuda.get_device_capability()
    kept = chosen(json.loads(TABLE.read_text(encoding="utf-8")), f"{major}.{minor}")
    for shape in shapes:
        calls = contenders(torch, shape, options.arch)
        found = [times(torch, calls, options.repetitions) for _ in range(2)]
        print(verdict(shape, kept.get(shape), found), flush=True)


def chosen(table: dict[str, Any], sm: str) -> dict[Shape, Any]:
    """Return what the table holds for a GPU: the choice for each of its points."""
    return {
        tuple(point["shape"]): _named(point)
        for one in table["rows"]
        if one["sm"] == sm
        for point in one["points"]
    }


def _named(point: dict[str, Any]) -> Any:
    """Name the candidate that a layer with a prepared weight takes at a point."""
    few, many = point.get("few"), point.get("fused")
    if few:
        return (FEW_ROWS, few["tokens"], few["split"])
    if many:
        return (MANY_ROWS, tuple(many["way"][0]), *many["way"][1:])
    return tuple(point["cut"] or point["tiles"])


def verdict(shape: Shape, choice: Any, found: list[Measured]) -> str:
    """Say whether a choice holds: BEATEN where each time another was faster by more than noise.

    That is NOISE, and for one launch in place of two the spread where it is more.
    """
    words = [f"{shape[0]} x {shape[1]}->{shape[2]}: {choice}"]
    beaten = []
    for one, spread in found:
        best = min((name for name in one if name != "linear"), key=one.__getitem__)
        own = one.get(choice)
        words.append(
            f"{'not among the candidates' if own is None else f'{own:.1f} us'}, "
            f"best {best} {one[best]:.1f}, half {one['linear']:.1f}"
        )
        noise = max(NOISE, spread.get(choice, 0.0) if _is_few(choice) else 0.0)
        beaten.append(None if own is None else own > one[best] * (1 + noise))
    word = "unknown" if None in beaten else "BEATEN " if all(beaten) else "holds  "
    return f"{word} " + " | ".join(words)


def _is_few(name: Any) -> bool:
    return bool(name) and name[0] == FEW_ROWS


def times(torch: Any, calls: dict[Any, Callable[[], Any]], repetitions: int) -> Measured:
    """Time each."""
    much = torch.ones(READ_FLOATS, device="cuda")
    events: dict[Any, list[tuple[Any, Any]]] = {name: [] for name in calls}
    for _ in range(repetitions):
        for name in random.sample(list(calls), len(calls)):
            for _ in range(2):
                much.sum()
            pair = tuple(torch.cuda.Event(enable_timing=True) for _ in range(2))
            pair[0].record()
            calls[name]()
            pair[1].record()
            events[name].append(pair)
        torch.cuda.synchronize()
    us = {
        name: sorted(1000 * a.elapsed_time(b) for a, b in pairs) for name, pairs in events.items()
    }
    medians = {name: statistics.median(found) for name, found in us.items()}
    return Measured(medians, {name: _spread(found) for name, found in us.items()})


def _spread(found: list[float]) -> float:
    """Of sorted times: half from the 10th to the 90th percentile, as a part of their median."""
    tenth = len(found) // 10
    return (found[-1 - tenth] - found[tenth]) / 2 / statistics.median(found)


def row(measured: dict[Shape, Measured], processors: int) -> dict[str, Any]:
    """Make what the table says of a GPU: points, and cuts that together lose least."""
    many = {shape: found.us for shape, found in measured.items() if shape[0] >= MANY}
    fits = {cut: fitted(many, cut, processors) for cut in CUTS}
    known = {cut: fit for cut, fit in fits.items() if fit}
    chosen: list[Any] = []
    while len(chosen) < min(KEPT, len(known)):
        rest = [cut for cut in known if cut not in chosen]
        chosen.append(min(rest, key=lambda cut: _lost(many, [*chosen, cut], known, processors)))
    return {
        "overlap": True, "clustered": known_of_hopper()["clustered"], "rows_of_points": FEW,
        "cuts": [
            {"cut": cut, "tile_us": round(known[cut][0], 3), "step_us": round(known[cut][1], 4)}
            for cut in chosen
        ],
        "points": [_point(shape, found) for shape, found in sorted(measured.items())],
    }  # fmt: skip


def _point(shape: Shape, measured: Measured) -> dict[str, Any]:
    """What a shape takes; few where no slower than two launches beyond the spread, fused if faster.

    One launch takes the calling thread less time than two, and a layer of few rows is mostly that.
    """
    found, spread = measured
    two = [one for one in found if one != "linear" and one[0] not in (FEW_ROWS, MANY_ROWS)]
    best = min(two, key=found.__getitem__)
    cut, tiles = (best, None) if best in {*CUTS, *SPLIT_CUTS} else (None, best)
    us, half = round(found[best], 1), round(found["linear"], 1)
    made = {"shape": shape, "cut": cut, "tiles": tiles, "us": us, "half_us": half}
    for kind, sign in ((FEW_ROWS, 1), (MANY_ROWS, -1)):
        ways = [one for one in found if one[0] == kind]
        least = min(ways, key=found.__getitem__, default=None)
        if least is not None and found[least] <= found[best] * (1 + sign * spread[least]):
            words = dict(zip(("tokens", "split"), least[1:], strict=False))
            made[kind] = {
                **(words if kind == FEW_ROWS else {"way": least[1:]}),
                "us": round(found[least], 1), "beside_us": us, "spread": round(spread[least], 3),
            }  # fmt: skip
    return made


def fitted(measured: dict[Shape, Times], cut: Any, processors: int) -> tuple[float, float] | None:
    """Fit tile_us and step_us to a cut's times: least squares of relative errors."""
    squares = [0.0] * 5
    for shape, found in measured.items():
        if cut in found:
            count, steps = waves(shape, cut, processors), math.ceil(shape[1] / 128)
            a = count / (found[cut] - LAUNCH_US)
            b = a * steps
            for place, one in enumerate((a * a, a * b, b * b, a, b)):
                squares[place] += one
    aa, ab, bb, a, b = squares
    if bb == 0 or math.isclose(aa * bb, ab * ab):
        return None
    tile = (a * bb - b * ab) / (aa * bb - ab * ab)
    return (tile, (b - tile * ab) / bb) if tile > 0 else (0.0, b / bb)


def waves(shape: Shape, cut: Any, processors: int) -> int:
    """How many tiles one after the other a multiprocessor multiplies, at most."""
    from qdoctor.nn.products import kernel  # noqa: PLC0415 - see sys.path

    counted = kernel("_switchback_tiles")._waves  # noqa: SLF001 - its rule
    return int(counted(known_of_hopper(), cut, shape, processors))


def _lost(measured: dict[Shape, Times], cuts: list[Any], fits: Any, processors: int) -> float:
    """Sum up by how much (in logarithms) choosing among these cuts by their fits loses."""
    lost = 0.0
    for shape, found in measured.items():

        def estimate(cut: Any, shape: Shape = shape) -> float:
            tile, step = fits[cut]
            return float(waves(shape, cut, processors) * (tile + step * math.ceil(shape[1] / 128)))

        taken = min((cut for cut in cuts if cut in found), key=estimate, default=None)
        best = min(value for one, value in found.items() if one in CUTS)
        lost += math.log(found[taken] / best) if taken else 1.0
    return lost


if __name__ == "__main__":
    main()
