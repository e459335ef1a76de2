"""How benchmarks/switchback.py times: late samples, disturbed cells, contenders that fail."""

# ruff: noqa: ANN401 - the benchmark's modules are loaded

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def timing(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(checkout))
    return importlib.import_module("benchmarks._switchback_timed")


class Clock:
    """A device whose samples are given: milliseconds, or a tuple of them and that it was late."""

    cache = "clean"

    def __init__(self, timing: Any, *samples: Any) -> None:
        self.timing, self.samples = timing, self.of(samples)
        self.lost = False
        self.freed = 0

    @staticmethod
    def of(samples: tuple[Any, ...]) -> Iterator[Any]:
        yield from samples
        while True:
            yield samples[-1]

    def wait(self) -> None:
        if self.lost:
            raise RuntimeError("an illegal memory access was encountered")

    def free(self) -> None:
        self.freed += 1

    def sample(self, call: Any, _cover_ms: float) -> Any:
        call()
        one = next(self.samples)
        ms, late = one if isinstance(one, tuple) else (one, False)
        return self.timing.Sample(0.0, ms / 1000, late=late)


def figures(timing: Any, *samples: Any) -> Any:
    running = timing.Running(lambda: None, 0.01, Clock(timing, 1.0))
    clock = Clock(timing, *samples)
    running.samples = [clock.sample(running.call, 0.0) for _ in samples]
    return running.figures()


def test_a_sample_that_was_issued_too_late_does_not_count(timing: Any) -> None:
    one = figures(timing, *[1.0] * 8, (9.0, True), (9.0, True))
    assert (one["ms"], one["p90"], one["repetitions"], one["late"]) == (1.0, 1.0, 8, 2)


def test_where_nearly_all_were_late_all_count_and_the_spread_tells(timing: Any) -> None:
    one = figures(timing, *[(5.0, True), (9.0, True)] * 5, 1.0)
    assert (one["repetitions"], one["late"]) == (11, 10)
    assert timing.spread(one) > timing.UNSETTLED


def running(timing: Any, **calls: Any) -> Any:
    return {name: timing.Running(call, None, Clock(timing, 1.0)) for name, call in calls.items()}


def test_one_that_fails_while_it_is_timed_leaves_the_others_alone(timing: Any) -> None:
    calls = []

    def breaks() -> None:
        calls.append(1)
        if len(calls) > 23:
            raise MemoryError("no room")

    failed: dict[str, str] = {}
    clock = Clock(timing, 1.0)
    found = timing.timed(clock, running(timing, a=lambda: None, b=breaks), 0.0, failed)
    assert set(found) == {"a"}
    assert found["a"]["repetitions"] == timing.LEAST
    assert failed == {"b": "MemoryError: no room"}
    assert clock.freed == 1


def test_one_that_takes_the_device_with_it_is_named(timing: Any) -> None:
    clock = Clock(timing, 1.0)

    def breaks() -> None:
        clock.lost = True
        raise RuntimeError("CUDA error")

    both = {"a": timing.Running(lambda: None, None, clock)}
    both["b"] = timing.Running(lambda: None, None, clock)
    both["b"].call = breaks
    with pytest.raises(timing.GpuLostError, match="b broke the device") as lost:
        timing.timed(clock, both, 0.0, {})
    assert lost.value.contenders == ["b"]


def test_where_nobody_knows_who_broke_the_device_all_but_the_anchors_are_suspected(
    timing: Any,
) -> None:
    clock = Clock(timing, 1.0)
    quiet = dict.fromkeys(("linear", "switchback-vector", "b", "c"), lambda: None)
    field = running(timing, **quiet)
    clock.lost = True
    with pytest.raises(timing.GpuLostError, match="one of b, c broke the device") as lost:
        timing.timed(clock, field, 0.0, {})
    assert lost.value.contenders == ["b", "c"]
    field = running(timing, linear=lambda: None)
    with pytest.raises(timing.GpuLostError, match="linear broke the device"):
        timing.timed(clock, field, 0.0, {})


def of(ms: float, p10: float, p90: float, call_ms: float = 1.5) -> dict[str, float]:
    return {"ms": ms, "p10": p10, "p90": p90, "call_ms": call_ms}


def test_of_two_measurements_only_a_disturbed_one_is_replaced(timing: Any) -> None:
    quiet, quieter = of(1.0, 0.9, 1.1), of(2.0, 2.0, 2.0)
    wide = of(1.0, 0.5, 1.5)
    assert timing.settled(quiet, quieter) is quiet  # chosen by nothing but noise otherwise
    assert timing.settled(wide, quieter) is quieter
    assert timing.settled(wide, of(1.0, 0.1, 5.0)) is wide
    assert timing.settled(of(9.0, 9.0, 9.0), wide)["ms"] == 9.0
    assert timing.settled(of(9.0, 9.0, 9.0), quiet) is quiet


def test_single_calls_that_outlast_those_in_a_row_were_disturbed(timing: Any) -> None:
    """As on a GPU that takes turns between processes: each sample is longer by the same."""
    assert timing.quiet(of(1.0, 1.0, 1.0))
    assert timing.quiet(of(1.5, 1.5, 1.5))  # operands from memory, not from the cache
    assert timing.quiet(of(0.02, 0.02, 0.02, call_ms=0.004))  # two events alone take some time
    assert not timing.quiet(of(3.3, 3.29, 3.31, call_ms=1.755))
    assert not timing.quiet(of(2.73, 2.7, 2.74, call_ms=0.413))


def test_a_disturbed_cell_is_timed_again(timing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    made = importlib.import_module("benchmarks._switchback_contenders")
    linear = torch.nn.Linear(8, 6, dtype=torch.bfloat16)
    clock = timing.Clock(torch, "cpu", "clean")
    rounds: list[Any] = []

    def timed(*_: Any) -> Any:
        rounds.append(1)
        p90 = 9.0 if len(rounds) == 1 else 1.0
        return {"linear": of(1.0, 1.0, p90)}

    monkeypatch.setattr(timing, "timed", timed)
    contender = made.Contender(linear, torch.bfloat16)
    cell = timing.measured(clock, {"": contender, "linear": contender}, 4, "forward", 0.0)
    assert len(rounds) == 2
    assert cell["contenders"]["linear"]["p90"] == 1.0
    assert (cell["rows"], cell["depth"], cell["columns"], cell["cache"]) == (4, 8, 6, "clean")


@pytest.mark.parametrize("passes", ["forward", "forward+backward"])
def test_a_contender_without_memory_costs_itself_alone(timing: Any, passes: str) -> None:
    torch = pytest.importorskip("torch")
    made = importlib.import_module("benchmarks._switchback_contenders")

    def full(_x: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmore")

    full.zero_grad = lambda **_: None  # type: ignore[attr-defined]
    linear = torch.nn.Linear(8, 6, dtype=torch.bfloat16)
    field = {
        "": made.Contender(linear, torch.bfloat16),
        "linear": made.Contender(linear, torch.bfloat16),
        "torchao": made.Contender(full, torch.bfloat16, comparable=False),
    }
    cell = timing.measured(timing.Clock(torch, "cpu", "clean"), field, 4, passes, 0.0)
    assert cell["failed"] == {"torchao": "OutOfMemoryError: CUDA out of memory. Tried to allocate"}
    assert cell["contenders"]["linear"]["ms"] > 0
    assert cell["contenders"]["linear"]["rel_error"] < 0.01


class Device:
    """A stand-in for torch and a GPU: work takes its milliseconds after what was queued before."""

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing
            self.at = 0.0

        def record(self) -> None:
            self.at = Device.busy_until()

        def elapsed_time(self, other: Any) -> float:
            return float(other.at - self.at)

    done_at = 0.0
    passes: list[str]

    def __init__(self) -> None:
        Device.done_at = 0.0
        Device.passes = []
        self.cuda = self
        self.is_available = lambda: True

    @staticmethod
    def now() -> float:
        return 1000 * time.perf_counter()

    @classmethod
    def busy_until(cls) -> float:
        return max(cls.done_at, cls.now())

    @classmethod
    def work(cls, milliseconds: float, what: str = "") -> None:
        cls.done_at = cls.busy_until() + milliseconds
        cls.passes.append(what)

    def zeros(self, count: int, *, device: str) -> Any:
        assert device == "cuda"
        assert count * 4 > 50 * 2**20  # more than any L2 cache
        return self

    def zero_(self) -> None:
        self.work(0.5, "written")

    def sum(self) -> None:
        self.work(0.5, "clean")

    def _sleep(self, _cycles: int) -> None:
        self.work(0.5, "warm")

    def synchronize(self) -> None:
        time.sleep(max(0.0, self.done_at - self.now()) / 1000)


@pytest.mark.parametrize("cache", ["clean", "written", "warm"])
def test_on_a_gpu_a_sample_is_the_devices_own_time(timing: Any, cache: str) -> None:
    clock = timing.Clock(Device(), "cuda", cache)
    assert set(Device.passes) == {cache}
    assert clock._pass_ms == pytest.approx(0.5, abs=0.2)
    Device.passes.clear()
    sample = clock.sample(lambda: Device.work(3.0), 400.0)
    clock.wait()
    assert sample.milliseconds() == pytest.approx(3.0, abs=0.01)
    assert not sample.late
    assert Device.passes.count(cache) * clock._pass_ms >= 399.0


def test_on_a_gpu_a_host_that_is_held_up_makes_a_late_sample(timing: Any) -> None:
    clock = timing.Clock(Device(), "cuda", "clean")

    def held_up() -> None:
        time.sleep(0.03)
        Device.work(3.0)

    sample = clock.sample(held_up, 5.0)
    clock.wait()
    assert sample.late
    assert sample.milliseconds() > 10.0  # the host's time, and none of the device's
