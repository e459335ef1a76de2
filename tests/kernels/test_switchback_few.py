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
    for rows in (1, 8, 9, 32, 64):
        for depth in (16, 1024, 1280, 4096, 5120, 8192):
            ways = few.ways(rows, depth)
            assert ways
            for way in ways:
                assert way.tokens >= rows
                assert way.split <= CLUSTER
                assert way.shared() <= BLOCK_BYTES
                assert way.split * way.steps * 128 >= depth
                assert way.tokens * way.steps * 128 // 2 <= 128 * 256  # words of 256 threads
    assert few.ways(65, 1024) == []
    assert few.way(1, 1024, CLUSTER + 1) is None
    assert few.way(64, 65536, 8) is None


def test_every_way_of_the_table_compiles(load: Load, few: Any, nvrtc: Any) -> None:
    for number, way in enumerate(sorted(chosen(load, few))):
        dtype, bias = (("bfloat16", "bfloat16"), ("float16", None))[number % 2]
        words = few.definitions(way, dtype, bias)
        assert b"product" in nvrtc.machine_code(few.source(way), "sm_90a", words)


@pytest.fixture
def kernel(few: Any, cuda: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One whose driver notes what it is given; results get the addresses 0x10000, 0x20000, ..."""
    addresses = iter(range(0x10000, 0x1000000, 0x10000))
    empty = SimpleNamespace(empty=lambda *shape, **_: tensor(next(addresses), *shape))
    monkeypatch.setitem(sys.modules, "torch", empty)
    made = few.Kernel.__new__(few.Kernel)
    vars(made).update(
        _driver=few.loaded.Driver(0, cuda), way=few.Way(16, 6, 7), _function=None, _own=few._Own()
    )
    return made


def call(kernel: Any, *, stream: int, scales: int = 1, bias: Any = None, x: int = 0x1000) -> Any:
    rows, weight = tensor(x, 13, 5120, stride=5128), tensor(0x3000, 1288, 5120)
    return kernel(rows, 127.0, weight, tensor(0x4000, scales), bias, stream)


def test_what_is_launched_and_that_the_weight_is_described_once(kernel: Any, cuda: Any) -> None:
    assert call(kernel, stream=7).data_ptr() == 0x10000
    call(kernel, stream=8, scales=1288, bias=tensor(0x5000, 1288), x=0x9000)
    assert cuda.maps == [(0, 0x3000, 5120, 1288, 5120, 128, 64, 3)]
    first, second = cuda.launches
    for launch, _ in (first, second):
        assert (launch.grid, launch.threads) == (21 * 6, 256)
        assert launch.shared == kernel.way.shared()
    assert [first[0].stream, second[0].stream] == [7, 8]
    as_the_source_takes_them = [
        [0x1000, 2 * 5128, None, 0x10000, 0x4000, 0, 13, 1288, 5120, 0],
        [0x9000, 2 * 5128, None, 0x20000, 0x4000, 0x5000, 13, 1288, 5120, 1],
    ]
    for (_, values), wanted in zip((first, second), as_the_source_takes_them, strict=True):
        steps = ctypes.c_float.from_buffer_copy((values[2] % 2**32).to_bytes(4, "little")).value
        assert steps == 127.0
        wide = (0, 1, 3, 4, 5)  # the others are 4 bytes
        got = [one if at in wide else one % 2**32 for at, one in enumerate(values)]
        assert [one for at, one in enumerate(got) if at != 2] == [
            one for at, one in enumerate(wanted) if at != 2
        ]


def test_what_is_remembered_is_bounded(
    kernel: Any, few: Any, cuda: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(few.hopper, "REMEMBERED", 10)
    for number in range(40):
        weight = tensor(0x3000 + 0x100 * number, 1288, 5120)
        kernel(tensor(0x1000, 13, 5120), 127.0, weight, tensor(0x4000, 1), None, 0)
        assert len(kernel._own.maps) + len(kernel._own.plans) <= 12
    assert len(cuda.launches) == 40


def test_what_is_not_exact_does_not_serve(few: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few, "Kernel", lambda *_: SimpleNamespace(differing=lambda: 3))
    with pytest.raises(few.hopper.NotHereError, match="3 of its results are not exact"):
        few.proven(few.Way(8, 2, 4), "bfloat16", None, 0, "sm_90a")


@pytest.mark.gpu
def test_on_a_real_gpu_every_way_is_exact(known_gpu: dict[str, Any], load: Load, few: Any) -> None:
    torch = pytest.importorskip("torch")
    device = torch.cuda.current_device()
    ways = chosen(load, few).union(*(few.ways(rows, 1040) for rows in (1, 16, 32, 64)))
    for dtype, bias in (("bfloat16", "bfloat16"), ("float16", None), ("bfloat16", "float32")):
        for way in ways:
            few.proven(way, dtype, bias, device, known_gpu["arch"])
