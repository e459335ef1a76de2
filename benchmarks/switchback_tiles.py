"""How SwitchBack's int8 product is best cut on this GPU: its row of switchback_tiles.json.

Every candidate (cuts of kernels/_switchback_hopper.cu, where it serves, and Triton's tiles) is
timed with the quantization of the rows before it, and so is each way of the kernel for few rows,
which quantizes itself, beside torch.nn.Linear in bf16: CUDA events,
contenders in random order, more memory than any cache holds read before each, median. Results must
be those of the first candidate, bit for bit.

With ``--check`` no row is made: each shape is timed twice, and what matrix/tables/switchback_tiles
holds for it is compared with the best of each time.

Usage: ``python benchmarks/switchback_tiles.py ROW.json [--arch sm_90a] [--rows 1 16 ...]
[--shapes 1024x4096 ...] [--repetitions 13]``, or ``--check [--points 1x1024x4096 ...]``. Needs a
CUDA GPU; an H100 takes three minutes for all.
"""

# ruff: noqa: ANN401, PLC0415 - torch is untyped here, and imported on demand

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
TABLE = Path(__file__).resolve().parent.parent / "matrix" / "tables" / "switchback_tiles.json"
CUTS = (
    (1, 32, 14, True, 1, True), (1, 64, 10, True, 1, True), (1, 32, 10, False, 1, True),
    (1, 64, 8, False, 2, True), (1, 96, 7, False, 2, True), (1, 128, 6, False, 2, True),
    (1, 160, 5, False, 2, True), (1, 192, 4, False, 2, True), (2, 128, 4, False, 2, True),
    (2, 128, 4, False, 2, False), (2, 96, 6, True, 2, True), (2, 128, 5, True, 2, True),
    (2, 160, 4, True, 2, True), (2, 192, 4, True, 2, True),
)  # fmt: skip
TILES = (
    (16, 16, 256, 2, 5), (16, 16, 512, 4, 4), (16, 16, 1024, 4, 3), (16, 16, 1024, 4, 4),
    (16, 32, 256, 4, 4), (16, 32, 512, 4, 3), (16, 64, 256, 4, 4), (16, 64, 256, 8, 4),
    (16, 64, 512, 4, 3), (16, 64, 512, 8, 3), (16, 128, 256, 8, 3),
    (32, 32, 256, 4, 4), (64, 16, 256, 4, 4), (64, 32, 128, 4, 6), (64, 32, 256, 4, 4),
    (64, 64, 128, 4, 6), (64, 64, 256, 4, 3), (64, 128, 128, 4, 4), (128, 64, 128, 4, 4),
    (128, 128, 128, 8, 3),
)  # fmt: skip
FEW_ROWS = "few"
"""What ways of kernels/_switchback_few.py are called: (FEW_ROWS, tokens, split)."""
Shape = tuple[int, int, int]
Times = dict[Any, float]


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
    measured: dict[Shape, Times] = {}
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
    few = point.get("few")
    return (FEW_ROWS, few["tokens"], few["split"]) if few else tuple(point["cut"] or point["tiles"])


def verdict(shape: Shape, choice: Any, found: list[Times]) -> str:
    """Say whether a choice holds: BEATEN where each time another was faster by more than NOISE."""
    words = [f"{shape[0]} x {shape[1]}->{shape[2]}: {choice}"]
    lost = []
    for one in found:
        best = min((name for name in one if name != "linear"), key=one.__getitem__)
        own = one.get(choice)
        words.append(
            f"{'not among the candidates' if own is None else f'{own:.1f} us'}, "
            f"best {best} {one[best]:.1f}, half {one['linear']:.1f}"
        )
        lost.append(math.inf if own is None else own / one[best] - 1)
    word = "unknown" if math.inf in lost else "BEATEN " if min(lost) > NOISE else "holds  "
    return f"{word} " + " | ".join(words)


def contenders(torch: Any, shape: Shape, arch: str) -> dict[Any, Callable[[], Any]]:
    """Make a call of every candidate that serves, each checked, and of torch.nn.Linear."""
    from qdoctor.nn.products import kernel

    rows, depth, columns = shape
    torch.manual_seed(7)
    linear = torch.nn.Linear(depth, columns, device="cuda", dtype=torch.bfloat16)
    x = torch.randn(rows, depth, device="cuda", dtype=torch.bfloat16)
    quantize = kernel("_switchback_quantize").quantize_rows
    weight, bias = quantize(linear.weight.detach()), linear.bias.detach()
    calls: dict[Any, Callable[[], Any]] = {"linear": lambda: linear(x)}
    first = None
    for launch, candidate in _launches(torch, shape, arch):

        def call(launch: Callable[..., None] = launch) -> Any:
            q, scale = quantize(x)
            c = torch.empty(rows, columns, device="cuda", dtype=torch.bfloat16)
            launch(q, scale, *weight, bias, c)
            return c

        result = call()
        first = result if first is None else first
        if torch.equal(result, first):
            calls[candidate] = call
        else:
            print(shape, candidate, "DIFFERS")
    for candidate, call in _at_once(torch, (x, *weight, bias), arch):
        if torch.equal(call(), first):
            calls[candidate] = call
        else:
            print(shape, candidate, "DIFFERS")
    return calls


def _at_once(torch: Any, given: tuple[Any, ...], arch: str) -> list[tuple[Any, Any]]:
    """Return a call of each way to quantize and multiply in one launch."""
    from qdoctor.nn.products import kernel

    few = kernel("_switchback_few")
    x, weight, scale, bias = given
    if not few.takes(x.shape[1], weight.shape[0], "bfloat16", "bfloat16"):
        return []
    stream = torch.cuda.current_stream().cuda_stream
    found = []
    for way in few.ways(*x.shape):
        try:
            made = few.proven(way, "bfloat16", "bfloat16", 0, arch)
        except few.hopper.NotHereError as error:
            print(way, error)
            continue

        def call(made: Any = made) -> Any:
            return made(x, 127.0, weight, scale, bias, stream)

        found.append(((FEW_ROWS, way.tokens, way.split), call))
    return found


def _launches(torch: Any, shape: Shape, arch: str) -> list[tuple[Callable[..., None], Any]]:
    from qdoctor.nn.products import kernel

    triton, hopper = kernel("_switchback_triton"), kernel("_switchback_hopper")
    rows, depth, columns = shape
    limit, overlap = triton.shared_limit(0), triton.overlaps()
    found: list[tuple[Callable[..., None], Any]] = []
    for one in map(triton.Tiles._make, TILES):
        if one.shared_bytes > limit or one.m > max(64, 2 * rows) or one.m * 64 < rows:
            continue

        def by_triton(*given: Any, one: Any = one) -> None:
            a, scale_a, b, scale_b, bias, c = given
            arguments = (a, b, c, scale_a, scale_b, bias, rows, columns, depth, 1)
            triton.launch((0, shape, one), arguments, one, overlap=overlap)

        found.append((by_triton, tuple(one)))
    stream = torch.cuda.current_stream().cuda_stream
    for cut in map(hopper.Cut._make, CUTS):
        if cut.m > max(64, 2 * rows):
            continue
        try:
            made = hopper.proven(cut, "bfloat16", "bfloat16", 0, arch)
        except hopper.NotHereError as error:
            print(cut, error)
            continue
        found.append((lambda *given, made=made: made(*given, stream), tuple(cut)))
    return found


def times(torch: Any, calls: dict[Any, Callable[[], Any]], repetitions: int) -> Times:
    """Return microseconds of each, the median."""
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
    return {
        name: 1000 * statistics.median(a.elapsed_time(b) for a, b in pairs)
        for name, pairs in events.items()
    }


def row(measured: dict[Shape, Times], processors: int) -> dict[str, Any]:
    """Make what the table says of a GPU: points, and cuts that together lose least."""
    many = {shape: found for shape, found in measured.items() if shape[0] >= MANY}
    fits = {cut: fitted(many, cut, processors) for cut in CUTS}
    known = {cut: fit for cut, fit in fits.items() if fit}
    chosen: list[Any] = []
    while len(chosen) < min(KEPT, len(known)):
        rest = [cut for cut in known if cut not in chosen]
        chosen.append(min(rest, key=lambda cut: _lost(many, [*chosen, cut], known, processors)))
    return {
        "overlap": True, "rows_of_points": FEW,
        "cuts": [
            {"cut": cut, "tile_us": round(known[cut][0], 3), "step_us": round(known[cut][1], 4)}
            for cut in chosen
        ],
        "points": [_point(shape, found) for shape, found in sorted(measured.items())],
    }  # fmt: skip


def _point(shape: Shape, found: Times) -> dict[str, Any]:
    """What a shape takes; few where it is no slower than two launches but for noise.

    One launch takes the calling thread less time than two, and a layer of few rows is mostly that.
    """
    two = [one for one in found if one != "linear" and one[0] != FEW_ROWS]
    best = min(two, key=found.__getitem__)
    cut, tiles = (best, None) if best in CUTS else (None, best)
    us, half = round(found[best], 1), round(found["linear"], 1)
    made = {"shape": shape, "cut": cut, "tiles": tiles, "us": us, "half_us": half}
    ways = [one for one in found if one[0] == FEW_ROWS]
    least = min(ways, key=found.__getitem__, default=None)
    if least is not None and found[least] <= found[best] * (1 + NOISE):
        _, tokens, split = least
        few = {"tokens": tokens, "split": split, "us": round(found[least], 1), "beside_us": us}
        made["few"] = few
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
    m64, n, _, pingpong, cluster, share_b = cut
    high, wide = -(-shape[0] // (64 * m64 * (1 if pingpong else 2))), -(-shape[2] // n)
    high, wide = (-(-high // cluster), wide) if share_b else (high, -(-wide // cluster))
    return int(-(-high * wide // (processors // cluster)))


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
