"""The product that quantizes rows in chunks: ways, source, launches; exact on a real GPU."""

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
WAYS = [
    ((2, 128, 4, 4, 4, 1), 4096), ((2, 160, 4, 2, 1, 0), 5120), ((2, 128, 4, 2, 2, 2), 2048),
    ((1, 256, 4, 2, 2, 1), 4096),
]  # fmt: skip
"""Beside the table's: other tiles, numbers of chunks, of rows that land, of rows done before."""


@pytest.fixture
def chunks(load: Load, hopper: Any) -> Any:
    del hopper
    return load("_switchback_chunks")


def chosen(load: Load, chunks: Any) -> list[tuple[Any, tuple[int, int, int]]]:
    """Every way that the table names, with its shape."""
    tiles = load("_switchback_tiles")
    return [
        (chunks.Way(*tiles.choose(sm, tuple(point["shape"]), 132).chunks), tuple(point["shape"]))
        for sm, row in tiles.table().items()
        for point in row["points"]
        if "chunks" in point
    ]


def all_ways(load: Load, chunks: Any) -> list[tuple[Any, int]]:
    known = [(way, shape[1]) for way, shape in chosen(load, chunks)]
    return [*known, *((chunks.Way(*way), depth) for way, depth in WAYS)]


def test_every_way_leaves_room_for_rows_where_the_panels_will_be(load: Load, chunks: Any) -> None:
    assert chosen(load, chunks)
    for way, shape in chosen(load, chunks):
        assert chunks.takes(way, shape, 132, "bfloat16", "bfloat16")
    for way, depth in all_ways(load, chunks):
        count = chunks.panels(way)
        assert 1 <= count <= 4
        assert chunks.shared(way, count) <= BLOCK_BYTES
        rows = 3 * way.slots * depth // way.chunks * chunks.SIZE
        assert rows <= 8 * count * 16 * way.cut.panel(chunks.SIZE) * chunks.SIZE
        assert way.cut.m == 128 * way.m64


@pytest.mark.parametrize(
    ("shape", "processors", "dtype", "bias", "taken"),
    [
        ((4096, 5120, 1280), 132, "bfloat16", "bfloat16", True),
        ((4752, 5120, 1280), 132, "float16", None, True),
        ((1, 5120, 8), 132, "float16", "float32", True),
        ((4753, 5120, 1280), 132, "bfloat16", None, False),
        ((4096, 5120, 1280), 113, "bfloat16", None, False),
        ((4096, 5120, 1280), 132, "float32", None, False),
        ((4096, 5120, 1284), 132, "bfloat16", None, False),
        ((4096, 5120, 1280), 132, "bfloat16", "float64", False),
        ((4096, 5104, 1280), 132, "bfloat16", None, False),
        ((4096, 1024, 1280), 132, "bfloat16", None, False),
        ((4096, 6144, 1280), 132, "bfloat16", None, False),
        ((4096, 12288, 1280), 132, "bfloat16", None, False),
    ],
    ids=["wave", "most", "one", "rows", "processors", "dtype", "columns", "bias", "uneven", "short",
         "room", "registers"],
)  # fmt: skip
def test_what_it_takes(  # noqa: PLR0913 - one case a line
    chunks: Any, shape: Any, processors: int, dtype: str, bias: str | None, *, taken: bool
) -> None:
    way = chunks.Way(2, 160, 4, 4, 2, 1)
    assert chunks.takes(way, shape, processors, dtype, bias) is taken


def test_every_way_compiles(load: Load, chunks: Any, nvrtc: Any) -> None:
    for number, (way, depth) in enumerate(all_ways(load, chunks)):
        dtype, bias = (("bfloat16", "bfloat16"), ("float16", None))[number % 2]
        words = chunks.definitions(way, dtype, bias, depth)
        assert b"product" in nvrtc.machine_code(chunks.source(way), "sm_90a", words)


def test_a_source_is_told_each_thing_once(chunks: Any) -> None:
    words = chunks.definitions(chunks.Way(2, 160, 4, 4, 2, 1), "float16", None, 5120)
    told = dict(word[2:].split("=") for word in words if word.startswith("-D"))
    assert len(told) == len(words) - 1
    assert [told[name] for name in ("CHUNKS", "UNITS", "SLOTS", "EXTRA", "FUSED", "IN")] == [
        "4", "5", "2", "1", "1", "2"
    ]  # fmt: skip
    assert [told[name] for name in ("PINGPONG", "CLUSTER", "SHARE_B", "MT")] == ["0", "2", "1", "2"]


class Torch:
    """As far as it is asked: gives out the addresses 0x10000, 0x20000 and so on."""

    def __init__(self) -> None:
        self.int8, self.float32 = "int8", "float32"
        self.sizes: list[tuple[int, ...]] = []

    def empty(self, *shape: int, **_: Any) -> Any:
        self.sizes.append(shape)
        return tensor(0x10000 * len(self.sizes), *shape)


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Torch:
    made = Torch()
    monkeypatch.setitem(sys.modules, "torch", made)
    return made


@pytest.fixture
def kernel(chunks: Any, cuda: Any, torch: Torch) -> Any:
    """One whose driver notes what it is given."""
    del torch
    made, way = chunks.Kernel.__new__(chunks.Kernel), chunks.Way(2, 160, 4, 4, 2, 1)
    vars(made).update(
        _driver=chunks.hopper.loaded.Driver(0, cuda), _way=way, _depth=5120, _cut=way.cut,
        _processors=133, _function=None, _size=2, _type=9, _own=chunks.hopper._Own(), _shared=7,
    )  # fmt: skip
    cuda.structure = (10, chunks._Given)
    return made


def call(kernel: Any, depth: int = 5120) -> Any:
    x = tensor(0x1000, 300, depth, stride=6000)
    return kernel(x, 127.0, tensor(0x3000, 520, depth), tensor(0x4000, 520), None, 7)


def test_what_is_launched(kernel: Any, cuda: Any, torch: Torch, chunks: Any) -> None:
    assert call(kernel).data_ptr() == 0x30000
    assert torch.sizes == [(300, 5120), (4 * 512,), (300, 520)]
    assert [one[1] for one in cuda.maps] == [0x10000, 0x3000, 0x30000]
    ((launch, values),) = cuda.launches
    # One block a multiprocessor, in pairs; all run at once, or none does.
    assert (launch.grid, launch.threads, launch.shared, launch.stream) == (132, 384, 7, 7)
    attribute = ctypes.cast(launch.attributes, ctypes.POINTER(chunks.loaded.Attribute))[0]
    assert (launch.count, attribute.id, attribute.value[0]) == (1, chunks.COOPERATIVE, 1)
    assert (values[2], values[3], values[4]) == (0x20000, 0x4000, 0)  # magnitudes, and no bias
    assert [one % 2**32 for one in values[5:9]] == [300, 520, 5120, 1]
    (given,) = cuda.structures
    assert (given.x, given.pitch, given.q, given.most) == (0x1000, 12000, 0x10000, 0x20000)
    assert (given.c, given.steps, given.padded) == (0x30000, 127.0, 512)


def test_another_depth_is_refused(kernel: Any, cuda: Any) -> None:
    with pytest.raises(ValueError, match="for a depth of 5120, not 4096"):
        call(kernel, 4096)
    assert not cuda.launches


def test_what_is_not_exact_does_not_serve(chunks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "Kernel", lambda *_: SimpleNamespace(differing=lambda: 3))
    with pytest.raises(chunks.hopper.NotHereError, match="3 of its results are not exact"):
        chunks.proven(chunks.Way(*WAYS[0][0]), "bfloat16", None, 4096, 0, "sm_90a")


@pytest.mark.gpu
def test_on_a_real_gpu_every_way_is_exact(
    known_gpu: dict[str, Any], load: Load, chunks: Any
) -> None:
    torch = pytest.importorskip("torch")
    device = torch.cuda.current_device()
    for dtype, bias in (("bfloat16", "bfloat16"), ("float16", None), ("bfloat16", "float32")):
        for way, depth in all_ways(load, chunks):
            chunks.proven(way, dtype, bias, depth, device, known_gpu["arch"])


@pytest.mark.gpu
def test_on_a_real_gpu_it_is_as_near_as_two_launches(known_gpu: dict[str, Any], load: Load) -> None:
    torch = pytest.importorskip("torch")
    chunks, linear = load("_switchback_chunks"), load("_switchback_linear")
    way, depth = chunks.Way(2, 160, 4, 4, 2, 1), 5120
    one = chunks.proven(way, "bfloat16", "bfloat16", depth, 0, known_gpu["arch"])
    torch.manual_seed(1)
    w = torch.randint(-127, 128, (1280, depth), device="cuda").to(torch.int8)
    scale, bias = torch.rand(1280, device="cuda") / 99, torch.zeros(1280, device="cuda").bfloat16()
    for rows in (1, 300, 4000):
        x = torch.randn(rows, depth + 16, device="cuda").bfloat16()[:, :depth]
        x[:, 7::97] *= 50
        exact = x.double() @ (w.double() * scale.double()[:, None]).t()
        stream = torch.cuda.current_stream().cuda_stream
        c = one(x, 127.0, w, scale, bias, stream)
        two = linear._two_steps(x, 127.0, w, scale, bias, None)
        far = [float((y.double() - exact).norm() / exact.norm()) for y in (c, two)]
        assert far[0] < far[1] * 1.02
        assert all(torch.equal(one(x, 127.0, w, scale, bias, stream), c) for _ in range(5))


@pytest.mark.gpu
def test_on_a_real_gpu_streams_do_not_meet_and_a_graph_replays_it(
    known_gpu: dict[str, Any], load: Load
) -> None:
    torch = pytest.importorskip("torch")
    chunks = load("_switchback_chunks")
    one = chunks.proven(chunks.Way(1, 256, 4, 2, 2, 0), "float16", None, 4096, 0, known_gpu["arch"])
    x = torch.randn(2000, 4096, device="cuda").half()
    w = torch.randint(-127, 128, (1024, 4096), device="cuda").to(torch.int8)
    scale = torch.ones(1, device="cuda") / 999

    def call() -> Any:
        return one(x, 127.0, w, scale, None, torch.cuda.current_stream().cuda_stream)

    wanted, streams, found = call(), [torch.cuda.Stream(), torch.cuda.Stream()], []
    torch.cuda.synchronize()
    for stream in streams * 20:
        with torch.cuda.stream(stream):
            found.append(call())
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        again = call()
    for _ in range(5):
        again.zero_()
        graph.replay()
        torch.cuda.synchronize()
        found.append(again.clone())
    assert all(torch.equal(c, wanted) for c in found)
