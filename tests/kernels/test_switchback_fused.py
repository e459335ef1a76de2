"""The product that quantizes its rows itself: ways, source, launches; exact on a real GPU."""

# ruff: noqa: ANN401 - modules loaded by path have no types

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.kernels.own_sources import BLOCK_BYTES, tensor

Load = Callable[[str], Any]
EVER = 2**29
WAYS = [
    ((2, 128, 4, True, 2, True), 8, 3, EVER, 2, 16),
    ((1, 256, 3, False, 2, True), 2, 3, EVER, 2, 3),
    ((2, 128, 3, True, 2, True), 8, 1, 4096, 3, 16),
    ((2, 192, 3, True, 2, True), 1, 2, EVER, 2, 0),
]
"""Beside those of the table: other numbers of warps, of rows under way, of units held."""


@pytest.fixture
def fused(load: Load, hopper: Any) -> Any:
    del hopper
    return load("_switchback_fused")


def chosen(load: Load, fused: Any) -> set[tuple[Any, int]]:
    """Every way that the table names, with its depth."""
    tiles = load("_switchback_tiles")
    return {
        (fused.Way(*tiles.choose(sm, tuple(point["shape"]), 132).fused), point["shape"][1])
        for sm, row in tiles.table().items()
        for point in row["points"]
        if "fused" in point
    }


def all_ways(load: Load, fused: Any) -> list[tuple[Any, int]]:
    return [*sorted(chosen(load, fused)), *((fused.Way(*one), 1040) for one in WAYS)]


def test_every_way_leaves_room_for_rows(load: Load, fused: Any) -> None:
    assert chosen(load, fused)
    for way, depth in all_ways(load, fused):
        units = fused.units(depth)
        count = fused.panels(way, units)
        assert 1 <= count <= 4
        own = fused.hopper.Cut(*way.cut).shared(fused.SIZE, count)
        rows = way.scalers * way.slots * units * 32 * fused.UNIT * fused.SIZE
        assert own + rows <= fused.shared(way, units, count) <= BLOCK_BYTES
        assert 1 <= way.scalers <= 3
    assert not fused.panels(fused.Way(*WAYS[0]), fused.units(16384))


@pytest.mark.parametrize("name", ["_switchback_few", "_switchback_fused"])
@pytest.mark.parametrize(
    ("depth", "columns", "dtype", "bias", "taken"),
    [
        (1024, 4096, "bfloat16", "bfloat16", True),
        (16, 8, "float16", None, True),
        (16, 8, "float16", "float32", True),
        (16, 8, "float32", None, False),
        (16, 4, "bfloat16", None, False),
        (24, 8, "bfloat16", None, False),
        (16, 8, "bfloat16", "float64", False),
    ],
)
def test_what_one_launch_takes(  # noqa: PLR0913, PLR0917 - one case a line
    load: Load, name: str, depth: int, columns: int, dtype: str, bias: str | None, *, taken: bool
) -> None:
    assert load(name).takes(depth, columns, dtype, bias) is taken


def test_every_depth_of_as_many_units_fits_where_one_does(fused: Any) -> None:
    assert {fused.units(depth) for depth in range(3856, 4097, 16)} == {16}
    assert (fused.units(3840), fused.units(4112), fused.units(16)) == (15, 17, 1)


@pytest.mark.parametrize("traced", [False, True])
def test_every_way_compiles(load: Load, fused: Any, nvrtc: Any, *, traced: bool) -> None:
    for number, (way, depth) in enumerate(all_ways(load, fused)[: 1 if traced else None]):
        dtype, bias = (("bfloat16", "bfloat16"), ("float16", None))[number % 2]
        words = fused.definitions(way, dtype, bias, fused.units(depth))
        source = fused.source(fused.hopper.Cut(*way.cut))
        words += ["-DTRACE"] if traced else []
        assert b"product" in nvrtc.machine_code(source, "sm_90a", words)


class Torch:
    """As far as it is asked: gives out the addresses 0x10000, 0x20000 and so on."""

    def __init__(self) -> None:
        self.int8, self.int32, self.float32 = "int8", "int32", "float32"
        self.zeroed: list[int] = []
        self._addresses = iter(range(0x10000, 0x1000000, 0x10000))

    def device(self, kind: str, index: int) -> str:
        return f"{kind}:{index}"

    def empty(self, *shape: int, **_: Any) -> Any:
        return tensor(next(self._addresses), *shape)

    def zeros(self, words: int, dtype: str, device: str) -> Any:
        assert (dtype, device) == ("int32", "cuda:0")
        self.zeroed.append(words)
        return tensor(0xF000000 + 0x100000 * len(self.zeroed), words)


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Torch:
    made = Torch()
    monkeypatch.setitem(sys.modules, "torch", made)
    return made


@pytest.fixture
def kernel(fused: Any, cuda: Any, torch: Torch) -> Any:
    """One whose driver notes what it is given."""
    del torch
    made, way = fused.Kernel.__new__(fused.Kernel), fused.Way((2, 128, 4, True, 2, True), 8, 3, 640)
    vars(made).update(
        _driver=fused.hopper.loaded.Driver(0, cuda), _device=0, _way=way, _units=5,
        _cut=fused.hopper.Cut(*way.cut), _processors=132, _function=None, _size=2, _type=9,
        _own=fused.hopper._Own(), _shared=7, times=None,
    )  # fmt: skip
    cuda.structure = (10, fused._Given)
    return made


def call(kernel: Any, *, rows: int = 300, depth: int = 1040, stream: int = 7) -> Any:
    x = tensor(0x1000, rows, depth, stride=2080)
    return kernel(x, 127.0, tensor(0x3000, 520, depth), tensor(0x4000, 520), None, stream)


def test_what_is_launched(kernel: Any, cuda: Any) -> None:
    c, q, scale = call(kernel)
    assert [one.data_ptr() for one in (q, scale, c)] == [0x10000, 0x20000, 0x30000]
    assert cuda.maps[0] == (0, 0x10000, 1040, 300, 1040, 128, 128, 3)  # the rows it quantizes
    assert [one[1] for one in cuda.maps[1:]] == [0x3000, 0x30000]
    ((launch, values),) = cuda.launches
    assert (launch.grid, launch.threads, launch.shared, launch.stream) == (20, 384, 7, 7)
    assert (values[2], values[3], values[4]) == (0x20000, 0x4000, 0)  # scales, and no bias
    assert [one % 2**32 for one in values[5:9]] == [300, 520, 1040, 1]
    (given,) = cuda.structures
    assert (given.x, given.pitch, given.q, given.scale) == (0x1000, 4160, 0x10000, 0x20000)
    assert (given.counters, given.steps, given.lead, given.times) == (0xF100000, 127.0, 640, None)


def test_a_depth_that_the_source_was_not_compiled_for_is_refused(kernel: Any, cuda: Any) -> None:
    with pytest.raises(ValueError, match="rows of 5 units, not 4"):
        call(kernel, depth=1024)
    call(kernel, depth=1280)
    assert len(cuda.launches) == 1


def test_each_launch_has_zeros_of_its_own_to_count_in(
    kernel: Any, fused: Any, cuda: Any, torch: Torch
) -> None:
    for rows in (300, 4096, 300):
        call(kernel, rows=rows)
    words = [(2 + blocks) * fused.COUNTER for blocks in (3, 32, 3)]
    assert torch.zeroed == words
    assert len({one.counters for one in cuda.structures}) == 3


def test_nothing_on_the_gpu_is_kept_after_a_launch(kernel: Any) -> None:
    """It could lie in a graph's memory: torch.compile refuses to capture then."""
    before = set(vars(kernel))
    call(kernel)
    assert set(vars(kernel)) == before
    assert not [one for one in vars(kernel).values() if hasattr(one, "data_ptr")]


def test_what_does_not_fit_does_not_serve(fused: Any) -> None:
    with pytest.raises(fused.hopper.NotHereError, match="rows of 16384 numbers do not fit"):
        fused.proven(fused.Way(*WAYS[0]), "bfloat16", None, 16384, 0, "sm_90a")


def test_what_is_not_exact_does_not_serve(fused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "Kernel", lambda *_: SimpleNamespace(differing=lambda: 3))
    with pytest.raises(fused.hopper.NotHereError, match="3 of its results are not exact"):
        fused.proven(fused.Way(*WAYS[0]), "bfloat16", None, 1024, 0, "sm_90a")


@pytest.mark.gpu
def test_on_a_real_gpu_every_way_is_exact(
    known_gpu: dict[str, Any], load: Load, fused: Any
) -> None:
    torch = pytest.importorskip("torch")
    device = torch.cuda.current_device()
    for dtype, bias in (("bfloat16", "bfloat16"), ("float16", None), ("bfloat16", "float32")):
        for way, depth in all_ways(load, fused):
            for lead in (way.lead, 256):
                one = way._replace(lead=lead)
                fused.proven(one, dtype, bias, depth, device, known_gpu["arch"])
