"""What the kernels ask of torch: room, times and corners."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import pytest

Load = Callable[[str], Any]


def test_the_workspace_is_bounded_where_nobody_asked_for_another(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = load("_torch")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    api.keep_small()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == api.WORKSPACE
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    api.keep_small()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


class FakeTorch:
    """What ``current`` asks of torch, with so much memory held and so much free, in MiB."""

    uint8 = "uint8"

    def __init__(self, held: int, free: int) -> None:
        self.asked: list[int] = []
        self.held, self.free = held, free
        self.cuda = self
        self.entered: list[str] = []

    def memory_reserved(self) -> int:
        return self.held << 20

    def empty(self, size: int, *, dtype: str, device: str) -> None:
        assert (dtype, device) == ("uint8", "cuda")
        self.asked.append(size >> 20)
        if size > self.free << 20:
            raise RuntimeError("CUDA out of memory")

    def device(self, name: str) -> contextlib.AbstractContextManager[None]:
        self.entered.append(name)
        return contextlib.nullcontext()


@pytest.mark.parametrize(
    ("device", "held", "free", "asked"),
    [
        ("cuda:1", 0, 1000, [54]),
        ("cuda:1", 2, 1000, [54]),
        ("cuda:1", 54, 1000, []),
        ("cuda:1", 0, 30, [54]),
        ("cpu", 0, 1000, []),
    ],
)
def test_room_is_taken_once_and_going_without_is_no_failure(
    load: Load, device: str, held: int, free: int, asked: list[int]
) -> None:
    torch = FakeTorch(held, free)
    with load("_torch").current(torch, device):
        assert torch.asked == asked
    assert torch.entered == ([] if device == "cpu" else [device])


class TwoGpus:
    """A torch that sees two GPUs."""

    __version__ = "2.11.0"

    class cuda:  # noqa: N801 - as torch calls it
        is_available = staticmethod(lambda: True)
        device_count = staticmethod(lambda: 2)
        get_device_name = staticmethod(lambda index: f"GPU {index}")


def test_a_gpu_that_is_not_there_is_skipped_and_not_the_cpus(load: Load) -> None:
    api, made = load("_torch"), load("_outcomes")
    assert api.device(TwoGpus, 1) == ("cuda:1", ["GPU 1, torch 2.11.0"])
    with pytest.raises(made.Skipped, match="no CUDA device 2: torch sees 2") as raised:
        api.device(TwoGpus, 2)
    assert raised.value.code == "no-gpu"


def test_what_a_kernel_may_take_holds_room_and_what_is_cleared(load: Load) -> None:
    api = load("_torch")
    rows, depth, columns = api.TIMED
    halves = 2 * (rows * depth + columns * depth)
    sums = 4 * rows * columns
    assert halves + (api.CLEARED_MIB << 20) <= api.ROOM_MIB << 20
    assert 3 * sums + rows * depth + columns * depth <= api.ROOM_MIB << 20
    assert api.ROOM_MIB + 2 * api.PIECE_MIB <= 64


def test_a_corner_is_compared_with_the_same_corner(load: Load) -> None:
    torch: Any = pytest.importorskip("torch")
    api = load("_torch")
    a, b = torch.randn(300, 16), torch.randn(600, 16)

    def reference(x: Any, y: Any) -> Any:  # noqa: ANN401
        assert (x.shape[0], y.shape[0]) == api.CORNER
        return x.double() @ y.double().t()

    got = a.double() @ b.double().t()
    assert api.corner_error(got, reference, a, b) < 1e-12
    assert api.corner_error(got * 1.5, reference, a, b) == pytest.approx(0.5)
    got[-1, -1] = 1e9  # outside of the corner
    assert api.corner_error(got, reference, a, b) < 1e-12


def test_on_the_cpu_time_is_taken_by_the_clock(load: Load) -> None:
    calls: list[int] = []
    taken = load("_torch").timed_on(None, "cpu", lambda: calls.append(1))
    assert taken >= 0
    assert len(calls) == 10


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_real_gpu_room_is_one_block_and_times_are_the_gpus(load: Load) -> None:
    torch: Any = pytest.importorskip("torch")
    api = load("_torch")
    api.keep_small()
    torch.cuda.empty_cache()  # what other tests of this process took is none of its own
    torch.cuda.reset_peak_memory_stats()
    before = api.gpu_mib(torch)
    with api.current(torch, "cuda:0"):
        a = torch.randn(1024, 1024, device="cuda", dtype=torch.float16)
        small = api.milliseconds(torch, lambda: a[:16] @ a)
        large = api.milliseconds(torch, lambda: a @ a)
        assert 0 < small < large
        assert api.gpu_mib(torch) > 0
        assert api.gpu_mib(torch) - before <= 64
