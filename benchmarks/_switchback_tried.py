"""What benchmarks/switchback_tiles.py tries: cuts, tiles, and ways of one launch.

Each is proven or compared before it is timed.
"""

# ruff: noqa: ANN401, PLC0415 - torch is untyped here, and imported on demand

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PROCESSORS = 132
"""Of an H100 SXM: what leads and groups are dealt out for, and splits; others are as right."""
CUTS = (
    (1, 32, 14, True, 1, True), (1, 64, 10, True, 1, True), (1, 32, 10, False, 1, True),
    (1, 64, 8, False, 2, True), (1, 96, 7, False, 2, True), (1, 128, 6, False, 2, True),
    (1, 160, 5, False, 2, True), (1, 192, 4, False, 2, True), (2, 128, 4, False, 2, True),
    (2, 128, 4, False, 2, False), (2, 96, 6, True, 2, True), (2, 128, 5, True, 2, True),
    (2, 160, 4, True, 2, True), (2, 192, 4, True, 2, True), (1, 96, 10, True, 2, True),
    (1, 96, 7, False, 1, True), (1, 128, 8, True, 2, True), (1, 256, 4, False, 2, True),
    (1, 128, 6, False, 2, False), (1, 128, 8, True, 2, False), (1, 192, 4, False, 1, True),
    (1, 192, 4, False, 2, False), (1, 192, 6, True, 2, True), (1, 256, 4, False, 2, False),
    (2, 96, 4, False, 2, True), (2, 96, 6, True, 2, False), (2, 128, 5, True, 2, False),
    (2, 160, 4, False, 2, False), (2, 160, 4, False, 2, True), (2, 160, 4, True, 2, False),
    (2, 192, 3, False, 2, True), (2, 96, 4, False, 1, True), (1, 64, 8, False, 4, False),
    (1, 96, 7, False, 2, False), (1, 96, 7, False, 4, False), (1, 128, 6, False, 1, True),
    (1, 128, 8, True, 4, True), (1, 160, 5, False, 2, False), (1, 192, 5, True, 2, False),
    (2, 64, 8, True, 2, True), (3, 64, 6, True, 2, False), (3, 64, 6, True, 2, True),
    (3, 96, 5, True, 1, True), (3, 128, 4, True, 1, True), (3, 128, 4, True, 2, False),
    (3, 128, 4, True, 2, True),
)  # fmt: skip
SPLIT_CUTS = (
    (1, 32, 12, True, 1, True, 2), (1, 32, 12, True, 1, True, 3), (1, 64, 7, False, 1, True, 3),
    (1, 64, 7, False, 1, True, 4), (1, 64, 7, False, 1, True, 5), (1, 64, 8, False, 1, True, 2),
    (1, 64, 12, True, 1, True, 2), (1, 64, 12, True, 1, True, 3), (1, 64, 12, True, 1, True, 4),
    (1, 64, 12, True, 1, True, 5), (1, 96, 5, False, 1, True, 5), (1, 96, 6, False, 1, True, 2),
    (1, 96, 6, False, 1, True, 3), (1, 96, 6, False, 1, True, 4), (1, 96, 9, True, 1, True, 2),
    (1, 96, 9, True, 1, True, 3), (1, 96, 9, True, 1, True, 4), (1, 96, 9, True, 1, True, 5),
    (1, 128, 4, False, 1, True, 5), (1, 128, 5, False, 1, True, 2), (1, 128, 5, False, 1, True, 3),
    (1, 128, 5, False, 1, True, 4), (1, 128, 7, True, 1, True, 3), (1, 128, 7, True, 1, True, 5),
    (1, 128, 8, True, 1, True, 2), (2, 64, 3, False, 1, True, 5), (2, 64, 4, False, 1, True, 4),
    (1, 32, 10, False, 1, True, 2), (3, 64, 5, True, 1, True, 2),
)  # fmt: skip
"""Cuts whose depth is split: for shapes that have fewer tiles than there are multiprocessors."""
TILES = (
    (16, 16, 256, 2, 5), (16, 16, 512, 4, 4), (16, 16, 1024, 4, 3), (16, 16, 1024, 4, 4),
    (16, 32, 256, 4, 4), (16, 32, 512, 4, 3), (16, 64, 256, 4, 4), (16, 64, 256, 8, 4),
    (16, 64, 512, 4, 3), (16, 64, 512, 8, 3), (16, 128, 256, 8, 3),
    (32, 32, 256, 4, 4), (64, 16, 256, 4, 4), (64, 32, 128, 4, 6), (64, 32, 256, 4, 4),
    (64, 64, 128, 4, 6), (64, 64, 256, 4, 3), (64, 128, 128, 4, 4), (128, 64, 128, 4, 4),
    (128, 128, 128, 8, 3),
)  # fmt: skip
FEW_ROWS, MANY_ROWS = "few", "fused"
"""What ways of kernels/_switchback_few.py and _switchback_fused.py are called: (FEW_ROWS, tokens,
split), and (MANY_ROWS, *the fields of Way)."""
AT_ONCE_ROWS = 2048
"""From so many rows on those of _switchback_fused.py are tried."""
EVER = 2**29
QUANTIZING = (
    ((2, 128, 4, True, 2, True), 2, 16), ((2, 128, 5, True, 2, True), 1, 16),
    ((1, 128, 6, True, 2, True), 2, 16), ((1, 256, 3, False, 2, True), 2, 16),
    ((2, 160, 4, True, 2, True), 1, 12), ((2, 160, 4, True, 2, True), 2, 12),
    ((2, 192, 4, True, 2, True), 1, 0), ((2, 192, 3, True, 2, True), 2, 0),
)  # fmt: skip
"""Of them: cut, rows of a warp that are under way, units of a row that a lane holds."""
Shape = tuple[int, int, int]


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

    few, fused = kernel("_switchback_few"), kernel("_switchback_fused")
    x, weight, scale, bias = given
    shape = (*x.shape, weight.shape[0])
    if not few.takes(*shape[1:], "bfloat16", "bfloat16"):
        return []
    stream, kinds = torch.cuda.current_stream().cuda_stream, ("bfloat16", "bfloat16")
    makers = {
        (FEW_ROWS, way.tokens, way.split): functools.partial(few.proven, way, *kinds, 0, arch)
        for way in few.ways(*x.shape)
    }
    for one in many_ways(shape):
        way = fused.Way(*one)
        if fused.panels(way, fused.units(shape[1])):
            maker = functools.partial(fused.proven, way, *kinds, shape[1], 0, arch)
            key = (MANY_ROWS, *one)
            makers[key] = maker
    found = []
    for name, maker in makers.items():
        try:
            made = maker()
        except few.hopper.NotHereError as error:
            print(name, error)
            continue

        def call(made: Any = made) -> Any:
            c = made(x, 127.0, weight, scale, bias, stream)
            return c[0] if isinstance(c, tuple) else c

        found.append((name, call))
    return found


def many_ways(shape: Shape) -> list[tuple[Any, ...]]:
    """List the ways of _switchback_fused.py for a shape: whole rows of tiles, and near rows.

    Where C is no wider than a row is deep they need not stay near: quantizing is what takes long.
    """
    rows, depth, columns = shape
    if rows < AT_ONCE_ROWS:
        return []
    found = []
    for cut, slots, held in QUANTIZING:
        high, wide = 64 * cut[0] * (1 if cut[3] else 2), -(-columns // cut[1])
        group = max(1, min(8, PROCESSORS // 2 // wide))
        lead = EVER if columns < depth else 2 * -(-PROCESSORS // wide) * high
        for way in ((cut, group, 3, lead, slots, held), (cut, 1, 3, EVER, slots, held)):
            if way not in found:
                found.append(way)
    return found


def known_of_hopper() -> dict[str, Any]:
    """Return what the table knows of SM 9.0: what of it is not measured here goes into new rows."""
    from qdoctor.nn.products import kernel

    known: dict[str, Any] = kernel("_switchback_tiles").table()["9.0"]
    return known


def serves(cut: tuple[Any, ...], shape: Shape) -> bool:
    """Say whether a cut is tried for a shape: half of a tile may be empty, and no cluster waits."""
    from qdoctor.nn.products import kernel

    made = kernel("_switchback_hopper").Cut(*cut)
    tiles = kernel("_switchback_tiles")
    waits = tiles._waits(known_of_hopper(), cut, shape, PROCESSORS)  # noqa: SLF001 - its rule
    return bool(made.m <= max(64, 2 * shape[0]) and not waits)


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
    for one in (*CUTS, *SPLIT_CUTS):
        if not serves(one, shape):
            continue
        cut = hopper.Cut(*one)
        try:
            made = hopper.proven(cut, "bfloat16", "bfloat16", 0, arch)
        except hopper.NotHereError as error:
            print(cut, error)
            continue
        found.append((lambda *given, made=made: made(*given, stream), one))
    return found
