"""The product for few rows: its ways, its source, its launches; exact on a real GPU."""

# ruff: noqa: ANN401 - modules loaded by path have no types

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.kernels.own_sources import BLOCK_BYTES, tensor

Load = Callable[[str], Any]
CLUSTER = 8
"""Blocks of a cluster that every GPU of SM 9.0 takes (there)."""


@pytest.fixture
def few(load: Load, hopper: Any) -> Any:
    del hopper
    return load("_switchback_few")


def chosen(load: Load, few: Any) -> set[Any]:
    """Every way that the table names."""
    return {
        few.way(point["shape"][0], point["shape"][1], point["few"]["split"])
        for row in load("_switchback_tiles").table().values()
        for point in row["points"]
        if "few" in point
    }


def test_every_way_of_the_table_fits_and_is_named_with_its_tokens(load: Load, few: Any) -> None:
    ways = chosen(load, few)
    assert ways
    assert None not in ways
    for row in load("_switchback_tiles").table().values():
        for point in row["points"]:
            if "few" in point:
                rows, depth, _ = point["shape"]
                way = few.way(rows, depth, point["few"]["split"])
                assert way.tokens == point["few"]["tokens"] >= rows


def test_every_way_covers_rows_and_depth_within_a_block(few: Any) -> None:
    for rows in (1, 8, 9, 32):
        for depth in (16, 1024, 1280, 4096, 5120, 8192):
            ways = few.ways(rows, depth)
            assert ways
            for way in ways:
                assert way.tokens >= rows
                assert way.split <= CLUSTER
                assert way.piece % 64 == 0
                assert way.split * way.piece * way.pieces >= depth
                steps = -(-way.piece // 512) * 2  # of 32 numbers, for each of 8 warps
                assert way.tokens * way.pieces * steps * 32 * 8 <= 65536
    assert few.ways(33, 1024) == []
    assert few.way(1, 1024, CLUSTER + 1) is None
    assert few.way(32, 65536, 8) is None


@pytest.mark.parametrize("columns", [8, 1024, 2104, 16384, 262144])
def test_blocks_have_room_for_their_columns(few: Any, columns: int) -> None:
    for way in (*few.ways(1, 4096), *few.ways(32, 8192)):
        most = 132 // way.split
        clusters = way.clusters(columns, most)
        wide = few.width(columns, clusters)
        assert clusters * wide >= columns
        assert clusters <= most or way.stages(few.width(columns, most)) < 1
        stages = way.stages(wide)
        assert 1 <= stages <= wide // 16 * way.pieces
        assert way.shared(wide, stages) <= BLOCK_BYTES


def test_rows_of_a_stage_lie_in_other_banks(few: Any) -> None:
    for piece in range(64, 2049, 64):
        pitch = few.Way(8, 1, piece, 1).stage // 16
        assert pitch >= piece
        assert pitch % 16 == 0  # where a copy may begin
        read_at_once = {(row * pitch + 8 * lane) // 4 % 32 for row in range(4) for lane in range(4)}
        assert len(read_at_once) == 16  # 8 bytes each


def test_every_way_of_the_table_compiles(load: Load, few: Any, nvrtc: Any) -> None:
    for number, way in enumerate(sorted(chosen(load, few))):
        dtype, bias = (("bfloat16", "bfloat16"), ("float16", None))[number % 2]
        words = few.definitions(way, dtype, bias)
        assert b"product" in nvrtc.machine_code(few.source(), "sm_90a", words)


@pytest.fixture
def kernel(few: Any, cuda: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One whose driver notes what it is given; results get the addresses 0x10000, 0x20000, ..."""
    addresses = iter(range(0x10000, 0x1000000, 0x10000))
    empty = SimpleNamespace(empty=lambda *shape, **_: tensor(next(addresses), *shape))
    monkeypatch.setitem(sys.modules, "torch", empty)
    cuda.structure = (0, ctypes.c_void_p)  # the weight's address
    made = few.Kernel.__new__(few.Kernel)
    vars(made).update(
        _driver=few.loaded.Driver(0, cuda), way=few.way(13, 5120, 2), _function=None,
        _own=few._Own(), _processors=132,
    )  # fmt: skip
    return made


def call(kernel: Any, *, stream: int, scales: int = 1, bias: Any = None, x: int = 0x1000) -> Any:
    rows, weight = tensor(x, 13, 5120, stride=5128), tensor(0x3000, 1288, 5120)
    return kernel(rows, 127.0, weight, tensor(0x4000, scales), bias, stream)


def test_what_is_launched(kernel: Any, cuda: Any) -> None:
    assert call(kernel, stream=7).data_ptr() == 0x10000
    call(kernel, stream=8, scales=1288, bias=tensor(0x5000, 1288), x=0x9000)
    first, second = cuda.launches
    for launch, _ in (first, second):
        assert (launch.grid, launch.threads) == (66 * 2, 288)
        assert launch.shared == kernel.way.shared(32, 4)
    assert [one.value for one in cuda.structures] == [0x3000, 0x3000]
    assert [first[0].stream, second[0].stream] == [7, 8]
    # 81 tiles for 66 clusters: each has one, 15 another; two pieces each, all copied at once
    as_the_source_takes_them = [
        [0x1000, 2 * 5128, None, 0x10000, 0x4000, 0, 13, 1288, 5120, 0, 4, 1, 15],
        [0x9000, 2 * 5128, None, 0x20000, 0x4000, 0x5000, 13, 1288, 5120, 1, 4, 1, 15],
    ]
    for (_, values), wanted in zip((first, second), as_the_source_takes_them, strict=True):
        steps = ctypes.c_float.from_buffer_copy((values[2] % 2**32).to_bytes(4, "little")).value
        assert steps == 127.0
        wide = (0, 1, 3, 4, 5)  # the others are 4 bytes
        got = [one if at in wide else one % 2**32 for at, one in enumerate(values)]
        assert [one for at, one in enumerate(got) if at != 2] == [
            one for at, one in enumerate(wanted) if at != 2
        ]


def test_no_more_clusters_are_launched_than_the_gpu_holds(kernel: Any, cuda: Any) -> None:
    cuda.held = 60
    call(kernel, stream=0)
    ((launch, values),) = cuda.launches
    assert launch.grid == 60 * 2
    assert [one % 2**32 for one in values[-2:]] == [1, 21]


def test_what_is_remembered_is_bounded(
    kernel: Any, few: Any, cuda: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(few.hopper, "REMEMBERED", 10)
    for number in range(40):
        weight = tensor(0x3000, 1288 + 8 * number, 5120)
        kernel(tensor(0x1000, 13, 5120), 127.0, weight, tensor(0x4000, 1), None, 0)
        assert len(kernel._own.plans) <= 11
    assert len(cuda.launches) == 40


def test_what_is_not_exact_does_not_serve(few: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few, "Kernel", lambda *_: SimpleNamespace(differing=lambda: 3))
    with pytest.raises(few.hopper.NotHereError, match="3 of its results are not exact"):
        few.proven(few.way(8, 512, 2), "bfloat16", None, 0, "sm_90a")


@pytest.mark.gpu
def test_on_a_real_gpu_every_way_is_exact(known_gpu: dict[str, Any], load: Load, few: Any) -> None:
    torch = pytest.importorskip("torch")
    device = torch.cuda.current_device()
    ways = chosen(load, few).union(*(few.ways(rows, 1040) for rows in (1, 16, 32)))
    for dtype, bias in (("bfloat16", "bfloat16"), ("float16", None), ("bfloat16", "float32")):
        for way in ways:
            few.proven(way, dtype, bias, device, known_gpu["arch"])
