"""Hopper's own product: its cuts, its source, its launches; exact on a real GPU."""

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
PROCESSORS = 132
WIDE = (1, 256, 4, False, 1, True)
SPLIT = [
    (1, 64, 8, False, 1, True, 2),
    (1, 64, 12, True, 1, True, 5),
    (1, 128, 5, False, 1, True, 4),
]
"""Cuts that share the depth among blocks, whatever the table names."""


@pytest.fixture
def cuts(load: Load, hopper: Any) -> list[Any]:
    """Every cut that the table names, and those of SPLIT."""
    rows = load("_switchback_tiles").table().values()
    named = {
        tuple(one["cut"]) for row in rows for one in row["cuts"] + row["points"] if one["cut"]
    }  # fmt: skip
    return [hopper.Cut(*one) for one in sorted({*named, *SPLIT})]


def test_every_cut_of_the_table_fits(hopper: Any, cuts: list[Any]) -> None:
    assert cuts
    for cut in cuts:
        for size in hopper.SIZES.values():
            assert cut.shared(size, cut.panels(size)) <= BLOCK_BYTES
        if cut.split == 1:
            # One is waited for each time: no loss for many columns, whose results leave less often.
            assert cut.panels(hopper.SIZES["bfloat16"]) >= (1 if cut.n >= 192 else 2)
        else:
            assert cut.cluster == 1
            assert cut.split <= 8  # blocks of a cluster that every SM 9.0 takes
        assert cut.n in range(8, 257, 8)  # what wgmma takes; int8 from 24 on in 16s
        assert cut.n % 32 == 0  # panels
        assert cut.m64 * cut.n <= 2 * 192  # int32 sums of a thread: more registers there are not
        parts = cut.n if cut.share_b else cut.m
        assert parts // cut.cluster % 8 == 0  # a swizzle repeats after 8 rows


@pytest.mark.parametrize(
    ("cut", "rows", "columns", "blocks"),
    [
        ((1, 256, 4, False, 1, True), 4096, 4096, 132),
        ((1, 256, 4, False, 1, True), 128, 512, 2),
        ((1, 256, 4, False, 2, True), 128, 512, 4),  # the second row of tiles is empty
        ((2, 128, 6, True, 2, False), 128, 384, 4),
        ((2, 128, 6, True, 2, False), 128 * 50, 256 * 2, 132 // 2 * 2),
        ((1, 64, 9, False, 1, True, 3), 256, 1280, 2 * 20 * 3),
        ((1, 64, 9, True, 1, True, 3), 256, 1280, 4 * 20 * 3),  # a cluster for each tile
    ],
)
def test_whole_clusters_are_launched_and_none_without_work(
    hopper: Any, cut: tuple[Any, ...], rows: int, columns: int, blocks: int
) -> None:
    assert hopper.Cut(*cut).blocks(rows, columns, PROCESSORS) == blocks


@pytest.mark.parametrize(
    ("depth", "columns", "out", "bias", "taken"),
    [
        (1024, 4096, "bfloat16", "bfloat16", True),
        (16, 8, "float16", None, True),
        (16, 4, "float32", "float16", True),
        (16, 4, "bfloat16", None, False),
        (24, 8, "bfloat16", None, False),
        (16, 8, "float64", None, False),
        (16, 8, "float32", "float64", False),
    ],
)
def test_what_the_copy_engine_takes(  # noqa: PLR0913 - one case a line
    hopper: Any, depth: int, columns: int, out: str, bias: str | None, *, taken: bool
) -> None:
    assert hopper.takes(depth, columns, out, bias) is taken


def test_every_cut_compiles_for_every_dtype(hopper: Any, cuts: list[Any], nvrtc: Any) -> None:
    kinds = [
        ("bfloat16", "bfloat16"),
        ("float16", "float16"),
        ("float32", "float32"),
        ("float32", None),
    ]
    for number, cut in enumerate(cuts):
        out, bias = kinds[number % len(kinds)]
        code = nvrtc.machine_code(hopper.source(cut), "sm_90a", hopper.definitions(cut, out, bias))
        assert b"product" in code


def made(hopper: Any, cuda: Any, cut: tuple[Any, ...], out: str) -> Any:
    kernel = hopper.Kernel.__new__(hopper.Kernel)
    vars(kernel).update(
        _driver=hopper.loaded.Driver(0, cuda), _cut=hopper.Cut(*cut), _processors=PROCESSORS,
        _function=None, _size=hopper.SIZES[out], _type=hopper.MAP_TYPES[out], _own=hopper._Own(),
        _shared=0,
    )  # fmt: skip
    return kernel


def operands(c: int, rows: int, depth: int, columns: int) -> tuple[Any, ...]:
    return (
        tensor(0x1000, rows, depth), tensor(0x2000, rows), tensor(0x3000, columns, depth),
        tensor(0x4000, columns), tensor(0x5000, columns), tensor(c, rows, columns),
    )  # fmt: skip


def test_what_is_launched_and_that_nothing_is_described_twice(hopper: Any, cuda: Any) -> None:
    kernel = made(hopper, cuda, (1, 256, 4, False, 2, True), "bfloat16")
    kernel(*operands(0x6000, 300, 1040, 520), 77)
    assert cuda.maps == [
        (0, 0x1000, 1040, 300, 1040, 128, 128, 3),
        (0, 0x3000, 1040, 520, 1040, 128, 128, 3),  # half of a tile: the cluster shares it
        (9, 0x6000, 520, 300, 1040, 64, 16, 3),
    ]
    kernel(*operands(0x6000, 300, 1040, 520), 78)
    kernel(*operands(0x7000, 300, 1040, 520), 78)
    assert len(cuda.maps) == 4
    launches = [(one.grid, one.threads, one.stream, values[2:5]) for one, values in cuda.launches]
    pointers = [0x2000, 0x4000, 0x5000]
    assert launches == [(12, 384, stream, pointers) for stream in (77, 78, 78)]


def test_where_the_depth_is_split_there_is_room_for_the_others_sums(hopper: Any) -> None:
    # Of 8 warps, or of 4, with 16 rows each a block adds up 3, or 2, at most, with 2 others' sums.
    for pingpong, warps in ((False, 3), (True, 2)):
        cut = (1, 64, 8, pingpong, 1, True)
        more = hopper.Cut(*cut, 3).shared(2, 1) - hopper.Cut(*cut).shared(2, 1)
        assert more == 8 * 8 + warps * 2 * 16 * 64 * 4


def test_narrow_panels_have_the_narrow_swizzle(hopper: Any, cuda: Any) -> None:
    kernel = made(hopper, cuda, (2, 160, 5, True, 2, False), "float16")
    kernel(*operands(0x6000, 300, 1040, 520), 0)
    assert [one[5:] for one in cuda.maps] == [(128, 64, 3), (128, 160, 3), (32, 16, 2)]
    kernel = made(hopper, cuda, (2, 160, 5, True, 2, False), "float32")
    kernel(*operands(0x6000, 300, 1040, 520), 0)
    assert cuda.maps[5] == (7, 0x6000, 520, 300, 2080, 32, 16, 3)


def test_what_is_remembered_is_bounded(
    hopper: Any, cuda: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hopper, "REMEMBERED", 10)
    kernel = made(hopper, cuda, (1, 256, 4, False, 1, True), "bfloat16")
    for number in range(40):
        kernel(*operands(0x6000 + 0x100 * number, 300, 1040, 520), 0)
        assert len(kernel._own.kept) <= 14
    assert len(cuda.launches) == 40


def test_a_failed_launch_is_said(hopper: Any, cuda: Any) -> None:
    kernel = made(hopper, cuda, (1, 256, 4, False, 1, True), "bfloat16")
    cuda.status = 719
    with pytest.raises(
        hopper.loaded.DriverError, match="cuLaunchKernelEx answered CUDA_ERROR_LAUNCH"
    ):
        kernel(*operands(0x6000, 300, 1040, 520), 0)


def test_without_a_compiler_it_says_why(
    hopper: Any, cuda: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = SimpleNamespace(
        get_device_properties=lambda _: SimpleNamespace(multi_processor_count=132)
    )
    torch = SimpleNamespace(cuda=gpus, version=SimpleNamespace(cuda=None), __version__="2.13.0")
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: cuda)
    with pytest.raises(hopper.NotHereError, match=r"NotCompiledError: torch 2\.13\.0 is not built"):
        hopper.proven(hopper.Cut(*WIDE), "bfloat16", None, 0, "sm_90a")


def test_an_older_driver_is_a_reason_too(hopper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(*_: object) -> None:
        raise AttributeError("undefined symbol: cuLaunchKernelEx")

    monkeypatch.setattr(hopper, "Kernel", without)
    with pytest.raises(hopper.NotHereError, match="AttributeError: undefined symbol"):
        hopper.proven(hopper.Cut(*WIDE), "bfloat16", None, 0, "sm_90a")


def test_what_is_not_exact_does_not_serve(hopper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = SimpleNamespace(differing=lambda: 3)
    monkeypatch.setattr(hopper, "Kernel", lambda *_: wrong)
    with pytest.raises(hopper.NotHereError, match="3 of its results are not exact"):
        hopper.proven(hopper.Cut(*WIDE), "bfloat16", None, 0, "sm_90a")


@pytest.mark.gpu
def test_on_a_real_gpu_every_cut_is_exact(
    known_gpu: dict[str, Any], hopper: Any, cuts: list[Any]
) -> None:
    torch = pytest.importorskip("torch")
    torch.zeros(1, device="cuda")
    kinds = [("bfloat16", "bfloat16"), ("float16", None), ("float32", "float32")]
    for cut in cuts:
        for out, bias in kinds:
            kernel = hopper.proven(cut, out, bias, torch.cuda.current_device(), known_gpu["arch"])
            for shape in ((1, 16, 8), (300, 1040, 520), (2500, 640, 2056)):
                _compare(torch, kernel, shape, getattr(torch, out), bias)


@pytest.mark.gpu
def test_on_a_real_gpu_a_split_depth_changes_no_bit(known_gpu: dict[str, Any], hopper: Any) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(2)
    at = {"device": "cuda"}
    index, arch = torch.cuda.current_device(), known_gpu["arch"]
    stream = torch.cuda.current_stream().cuda_stream
    for out, bias in (("bfloat16", "bfloat16"), ("float16", None), ("float32", "float32")):
        cuts = [(1, 64, 8, False, 2, True), *SPLIT]
        kernels = [hopper.Kernel(hopper.Cut(*cut), out, bias, index, arch) for cut in cuts]
        for rows, depth, columns in (
            (1, 5120, 1280),
            (37, 16, 8),
            (255, 5120, 1280),
            (300, 272, 520),
        ):
            a = torch.randint(-127, 128, (rows, depth), dtype=torch.int8, **at)
            b = torch.randint(-127, 128, (columns, depth), dtype=torch.int8, **at)
            left, right = torch.rand(rows, **at) / depth, torch.rand(columns, **at)
            plus = torch.randn(columns, **at).to(getattr(torch, bias)) if bias else None
            found = []
            for kernel in kernels:
                # What lies behind the result stays what it is.
                room = torch.full((rows * columns + 64,), 7.0, dtype=getattr(torch, out), **at)
                kernel(a, left, b, right, plus, room[:-64].view(rows, columns), stream)
                found.append(room)
            assert (found[0][-64:] == 7.0).all()
            assert all(torch.equal(one, found[0]) for one in found[1:])


def _compare(torch: Any, kernel: Any, shape: tuple[int, int, int], out: Any, bias: Any) -> None:
    rows, depth, columns = shape
    at = {"device": "cuda"}
    a = torch.randint(-127, 128, (rows, depth), dtype=torch.int8, **at)
    b = torch.randint(-127, 128, (columns, depth), dtype=torch.int8, **at)
    left, right = torch.rand(rows, **at) / depth, torch.rand(columns, **at)
    plus = torch.randn(columns, dtype=getattr(torch, bias), **at) if bias else None
    for scale in (right, right[:1].clone()):
        c = torch.full((rows, columns), float("nan"), dtype=out, **at)
        kernel(a, left, b, scale, plus, c, torch.cuda.current_stream().cuda_stream)
        exact = (a.double() @ b.double().t()) * left.double()[:, None] * scale.double()
        exact = exact if plus is None else exact + plus.double()
        error = (c.double() - exact).norm() / exact.norm()
        assert error <= torch.finfo(out).eps
