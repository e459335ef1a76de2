"""The clock of the measuring child: what a time is made of, and who leaves the race."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
import torch  # noqa: TID253 - what is timed is torch's

from qdoctor.choosing import bench as benches
from qdoctor.choosing import samples, timing
from qdoctor.choosing.bench import Bench
from qdoctor.choosing.samples import Samples
from qdoctor.choosing.timing import Contender, prepared, race, relative_error


def contender(name: str = "half") -> Contender:
    return Contender(name, [("layer", "input")], 2.0)


def taken(*milliseconds: float) -> Samples:
    """Times of calls that nothing interrupted."""
    made = Samples()
    made._taken = [(0, each) for each in milliseconds]
    return made


def test_a_call_takes_the_larger_of_device_and_host() -> None:
    one = contender()
    one.device, one.host = taken(1.0, 3.0, 2.0), taken(0.5, 0.6, 0.7)
    assert (one.cell()["milliseconds"], one.cell()["p10"], one.cell()["p90"]) == (2.0, 1.0, 3.0)
    one.host = taken(5.0, 4.0, 6.0)
    bound_by_launching = one.cell()
    assert (bound_by_launching["milliseconds"], bound_by_launching["p90"]) == (5.0, 6.0)
    assert bound_by_launching["device_milliseconds"] == 2.0
    assert bound_by_launching["host_milliseconds"] == 5.0
    assert bound_by_launching["repetitions"] == 3


def test_copies_of_the_operands_take_their_turn() -> None:
    one = Contender("half", [("a", 1), ("b", 2), ("c", 3)], 2.0)
    assert sorted(one.next()[0] for _ in range(6)) == ["a", "a", "b", "b", "c", "c"]


class Clock:
    """A bench whose times are given: of the device, and of the host."""

    on_gpu = True

    def __init__(self, device: dict[str, float], host: dict[str, float]) -> None:
        self.device_ms, self.host_ms = device, host
        self.order: list[str] = []

    def rouse(self) -> None:
        self.order.append("roused")

    def device_time(self, one: Contender) -> float:
        self.order.append(one.name)
        if self.device_ms[one.name] < 0:
            raise RuntimeError("broken")
        return self.device_ms[one.name]

    def host_time(self, one: Contender) -> float:
        return self.host_ms[one.name]


def run(clock: Clock, until: float) -> tuple[list[Contender], list[str]]:
    field = [contender(name) for name in clock.device_ms]
    faults = race(clock, field, until, lambda _name, _doing: None)  # type: ignore[arg-type]
    return field, [name for name, _ in faults]


def test_all_are_timed_in_turn_at_least_a_few_times_though_the_time_is_over() -> None:
    clock = Clock({"a": 1.0, "b": 1.1}, {"a": 0.1, "b": 0.1})
    field, faults = run(clock, until=0.0)
    assert [len(one.device) for one in field] == [timing.LEAST] * 2
    assert clock.order == ["roused", "a", "b"] + ["a", "b"] * timing.LEAST
    assert faults == []


def test_with_time_left_there_are_more_rounds_but_not_for_the_slow() -> None:
    clock = Clock({"a": 1.0, "b": 1.1, "c": 9.0}, dict.fromkeys("abc", 0.1))
    field, _ = run(clock, until=time.monotonic() + 60)
    assert [len(one.device) for one in field] == [timing.MOST, timing.MOST, timing.SLOW_ROUNDS]


def test_the_slow_are_let_go_later_where_their_times_are_in_doubt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = itertools.count()
    monkeypatch.setattr(samples, "interruptions", lambda: next(count))
    clock = Clock({"a": 1.0, "b": 8.0, "c": 10.0}, dict.fromkeys("abc", 0.1))
    clock.on_gpu = False
    field, _ = run(clock, until=time.monotonic() + 60)
    left_out = timing.LEAST - timing.SLOW_ROUNDS  # only while the least is done for all
    assert [len(one.device) for one in field] == [timing.MOST, timing.MOST, timing.MOST - left_out]
    assert all(one.cell()["disturbed"] for one in field)
    hurried, _ = run(clock, until=0.0)
    assert [len(one.device) for one in hurried] == [timing.LEAST] * 2 + [timing.SLOW_ROUNDS]


def test_half_is_timed_to_the_end_however_slow_it_is() -> None:
    clock = Clock({"half": 9.0, "b": 1.0}, {"half": 0.1, "b": 0.1})
    field, _ = run(clock, until=time.monotonic() + 60)
    assert [len(one.device) for one in field] == [timing.MOST] * 2


class Rising:
    """A device whose clock needs a while; ``_sleep`` of a torch that has it."""

    def __init__(self, clocks: list[float]) -> None:
        self.clocks, self.spun = itertools.chain(clocks, itertools.repeat(clocks[-1])), 0
        self.cuda = self

    def _sleep(self, cycles: int) -> None:
        assert cycles == benches.CYCLES
        self.spun += 1


def test_the_clock_is_up_before_anything_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    rising = Rising([300e3, 300e3, 900e3, 1980e3])
    bench = Bench(torch, "cpu", training=False)
    bench.torch, bench.on_gpu = rising, True

    def between(action: Any) -> float:  # noqa: ANN401
        action()
        return benches.CYCLES / next(rising.clocks)

    monkeypatch.setattr(bench, "_between", between)
    bench.rouse()
    assert bench.cycles_per_ms == pytest.approx(1980e3)
    assert rising.spun == 3 + benches.STEADY + 1


def test_the_host_is_timed_on_where_it_may_be_what_takes_the_time() -> None:
    clock = Clock({"a": 1.0, "b": 1.0}, {"a": 0.1, "b": 0.9})
    (a, b), _ = run(clock, until=time.monotonic() + 60)
    assert (len(a.host), len(b.host)) == (timing.HOST_LEAST, timing.MOST)


def test_the_device_is_kept_busy_for_longer_than_launching_takes() -> None:
    (a, b), _ = run(Clock({"a": 1.0, "b": 1.0}, {"a": 0.01, "b": 0.9}), until=0.0)
    assert a.cover_ms == timing.COVER_MS
    assert b.cover_ms == pytest.approx(2.7)


def test_what_raises_leaves_the_race_and_is_named() -> None:
    field, faults = run(Clock({"a": 1.0, "b": -1.0, "c": 1.0}, dict.fromkeys("abc", 0.1)), 0.0)
    assert (faults, [one.name for one in field]) == (["b"], ["a", "c"])


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(torch, "cpu", training=False)


class Half:
    name = "half"

    def replaced(self, linear: Any, *, training: bool = False) -> Any:  # noqa: ANN401
        del training
        made = torch.nn.Linear(linear.in_features, linear.out_features, dtype=linear.weight.dtype)
        made.load_state_dict(linear.state_dict())
        return made

    def weight_bytes(self, module: Any) -> int:  # noqa: ANN401
        return int(module.weight.numel() * module.weight.element_size())


@pytest.mark.parametrize("rows", [1, 5, 300])
def test_the_error_is_that_of_rounding_for_half_and_of_the_factor_for_a_scaled_layer(
    bench: Bench, rows: int
) -> None:
    shape = (rows, 96, 64)
    linear = bench.linear(shape)
    assert 0.0005 < relative_error(bench, linear, linear, shape) < 0.004
    scaled = Half().replaced(linear)
    with torch.no_grad():
        scaled.weight.mul_(1.25)
        scaled.bias.mul_(1.25)
    assert relative_error(bench, scaled, linear, shape) == pytest.approx(0.25, abs=0.01)


def test_an_error_is_the_same_whatever_was_measured_before(bench: Bench) -> None:
    shape = (5, 96, 64)
    first = bench.linear(shape)
    error = relative_error(bench, first, first, shape)
    torch.randn(1000)
    again = bench.linear(shape)
    assert torch.equal(again.weight, first.weight)
    assert relative_error(bench, again, again, shape) == error
    data = torch.randn(96, generator=torch.Generator().manual_seed(benches.DATA))
    near = torch.corrcoef(torch.stack([data, first.weight[0].detach().float()]))[0, 1]
    assert abs(float(near)) < 0.5  # other numbers than the weights


def test_what_is_not_finite_is_refused(bench: Bench) -> None:
    shape = (4, 8, 8)
    linear = bench.linear(shape)
    broken = Half().replaced(linear)
    with torch.no_grad():
        broken.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        relative_error(bench, broken, linear, shape)


def test_operands_have_as_many_copies_as_fill_the_cache_twice(bench: Bench) -> None:
    bench.cache_bytes = 1 << 20
    assert bench.copies(1 << 19, (256, 1024, 512)) == 2
    assert bench.copies(1 << 24, (256, 1024, 512)) == 1
    assert bench.copies(1 << 10, (1, 16, 16)) == benches.CPU_COPIES


def test_where_memory_is_short_there_are_fewer_copies_and_that_is_remembered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.cache_bytes = 1 << 22
    monkeypatch.setattr(bench, "_room", lambda: float(1 << 23))
    assert bench.copies(1 << 21, (1, 1024, 1024), others=0) == 1
    assert bench.cramped
    bench.cramped = False
    monkeypatch.setattr(bench, "_room", lambda: float(1 << 26))
    assert bench.copies(1 << 21, (1, 1024, 1024), others=0) == 4
    assert bench.copies(1 << 21, (1, 1024, 1024), others=3) == 3
    assert not bench.cramped
    monkeypatch.setattr(bench, "_room", lambda: 0.0)
    assert bench.copies(1 << 23, (1, 1024, 1024)) == 1
    assert not bench.cramped  # one is larger than the cache


def test_a_contender_has_its_own_copies_and_figures(bench: Bench) -> None:
    bench.cache_bytes = 1 << 16
    shape = (64, 64, 64)
    one = prepared(bench, Half(), bench.linear(shape), shape)
    layers = {id(layer) for layer, _ in one.sets}
    addresses = {x.data_ptr() for _, x in one.sets}
    assert len(layers) == len(addresses) == len(one.sets) == benches.CPU_COPIES
    assert (one.bytes_per_weight, one.error < 0.004) == (2.0, True)


def test_training_times_forward_and_backward_and_keeps_no_gradient() -> None:
    bench = Bench(torch, "cpu", training=True)
    shape = (8, 16, 16)
    linear, x = bench.linear(shape), bench.input(shape)
    seen: list[Any] = []
    x.register_hook(seen.append)
    linear.weight.register_hook(seen.append)
    for _ in range(2):
        bench.call(linear, x)
    of_weight, of_input = sorted(seen[:2], key=lambda grad: -grad.shape[0])
    assert of_weight.shape == linear.weight.shape
    assert torch.equal(of_input, (linear(x).detach() @ linear.weight).detach())
    assert len(seen) == 4
    assert x.grad is linear.weight.grad is None


def test_a_call_goes_before_the_timed_one_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    rising = Rising([1980e3])
    bench = Bench(torch, "cpu", training=False)
    bench.torch, bench.on_gpu, bench.cycles_per_ms = rising, True, benches.CYCLES / timing.COVER_MS
    order: list[str] = []
    monkeypatch.setattr(bench, "call", lambda layer, _: order.append(layer))
    monkeypatch.setattr(rising, "_sleep", lambda _: order.append("busy"))

    def between(action: Any) -> float:  # noqa: ANN401
        order.append("clock")
        action()
        return 2.0

    monkeypatch.setattr(bench, "_between", between)
    one = Contender("half", [("a", 1), ("b", 2), ("c", 3)], 2.0)
    assert bench.device_time(one) == 2.0
    untimed, *timed = order
    assert timed[:2] == ["busy", "clock"]
    assert {untimed, timed[2]} < {"a", "b", "c"}
    assert untimed != timed[2]


def test_a_time_on_the_cpu_is_wall_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count(0, 0.25)
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    one = Contender("half", [(torch.nn.Identity(), torch.zeros(1))], 2.0)
    assert bench.device_time(one) == 250.0
