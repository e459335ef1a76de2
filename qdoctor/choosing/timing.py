"""Times the candidates of one shape in turn, on the device; runs in the examined interpreter.

Imports the standard library alone; torch comes as an argument.

What a call takes in eager mode is the larger of two times, for they overlap: what the device needs
(events around the call, in a stream that is kept busy before it, so that launches wait in the queue
and are not part of it) and what the host needs to issue it (wall time of calls in a row). A decode
step is bound by the second. Each call takes the next of several copies of its operands, together
twice as large as the cache, so that they come from memory as those of a deep model do.
"""

# ruff: noqa: ANN401 - torch comes as an argument, without its types

from __future__ import annotations

import contextlib
import math
import statistics
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Shape = tuple[int, int, int]
    Say = Callable[[str, str], None]
    Fault = tuple[str, Exception]

LEAST, MOST = 7, 60
"""Rounds: with fewer there is no median worth the name; more narrow it no further."""
HOST_LEAST = 3
"""Rows of calls that show whether the host is what takes the time; then only where it may be."""
WARM_UPS = 3
"""Of one copy; every other one is called once, for what a layer does in its first call."""
IN_A_ROW = 10
COVER_MS = 0.2
"""The device is kept busy at least as long before each call that is timed by events."""
COVER_TIMES = 3.0
"""... and as many times as long as the host needs to issue the call."""
CYCLES = 4000000
"""Of a spin: 2 ms at 2 GHz."""
STEADY, RISEN, ROUSE_SECONDS = 20, 0.97, 0.4
"""Spins in a row at nearly the highest clock that was seen, until which it counts as up."""
CHECKED_ROWS, CHECKED_COLUMNS = 256, 1024
LEAST_CHECKED = 32
"""Rows of the error: a few decode steps' worth where a call has fewer."""
MOST_COPIES = 24
CACHE_BYTES = 64 << 20  # where torch does not tell: larger than most
CACHE_TIMES = 2
SLOW, SLOW_ROUNDS = 3.0, 3
"""So many times slower than the fastest needs no narrow spread: these rounds will do."""
CPU_COPIES = 4
HALF = "half"


class Contender:
    """One backend at one shape: copies of its layer with an input each, and its times."""

    def __init__(self, name: str, sets: list[Any], bytes_per_weight: float) -> None:
        """``sets`` are pairs of a layer and its input."""
        self.name, self.sets = name, sets
        self.bytes_per_weight = bytes_per_weight
        self.error = 0.0
        self.device_ms: list[float] = []
        self.host_ms: list[float] = []
        self.cover_ms = COVER_MS
        self.turn = 0

    def next(self) -> Any:
        """Return the copy whose turn it is."""
        self.turn += 1
        return self.sets[self.turn % len(self.sets)]

    def cell(self) -> dict[str, Any]:
        """Return its figures, as ``model.Timed`` has them."""
        host = statistics.median(self.host_ms) if self.host_ms else None
        device = statistics.median(self.device_ms)
        times = sorted(self.host_ms if host is not None and host > device else self.device_ms)
        return {
            "milliseconds": statistics.median(times),
            "p10": _quantile(times, 0.1),
            "p90": _quantile(times, 0.9),
            "rel_error": self.error,
            "weight_bytes_per_param": self.bytes_per_weight,
            "device_milliseconds": device,
            "host_milliseconds": host,
            "repetitions": len(self.device_ms),
        }


class Bench:
    """Where and how calls are timed: the device, its cache, and how long it can be kept busy."""

    def __init__(self, torch: Any, device: str, training: bool) -> None:  # noqa: FBT001
        """Start the device. ``device`` is ``cuda:N`` or ``cpu``; raises what torch raises."""
        self.torch, self.device, self.training = torch, torch.device(device), training
        self.on_gpu = self.device.type == "cuda"
        if self.on_gpu:
            torch.cuda.set_device(self.device)
        torch.manual_seed(7)
        torch.zeros(1, device=self.device)
        self.cache_bytes = self._cache_bytes()
        self.cramped = False
        self.cycles_per_ms = 0.0
        self.rouse()
        self.dtype = self._dtype()

    def _dtype(self) -> Any:
        from qdoctor.backends.precision import half_dtype  # noqa: PLC0415 - it imports torch

        return half_dtype(self.device)

    def _cache_bytes(self) -> int:
        if not self.on_gpu:
            return CACHE_BYTES
        properties = self.torch.cuda.get_device_properties(self.device)
        return int(getattr(properties, "L2_cache_size", 0) or CACHE_BYTES)

    def rouse(self) -> None:
        """Keep the device busy until its clock is up: it falls whenever the host keeps it waiting.

        Calls at a third of the clock would be measured otherwise, and of some candidates only.
        """
        if not self.on_gpu or not hasattr(self.torch.cuda, "_sleep"):
            return
        until, steady = time.monotonic() + ROUSE_SECONDS, 0
        while steady < STEADY and time.monotonic() < until:
            took = self._between(lambda: self.torch.cuda._sleep(CYCLES))  # noqa: SLF001
            clock = CYCLES / took if took > 0 else 0.0
            best = self.cycles_per_ms
            steady = steady + 1 if RISEN * best < clock < best / RISEN else 0
            self.cycles_per_ms = max(clock, best)

    def _between(self, action: Callable[[], Any]) -> float:
        begin, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        action()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end))

    def wait(self) -> None:
        """Wait until the device has done all it was given."""
        if self.on_gpu:
            self.torch.cuda.synchronize(self.device)

    def forget(self) -> None:
        """Give the device's unused memory back."""
        if self.on_gpu:
            self.torch.cuda.empty_cache()

    def linear(self, shape: Shape) -> Any:
        """Return the layer that every candidate replaces, Gaussian, in half precision."""
        _, depth, columns = shape
        linear = self.torch.nn.Linear(
            depth, columns, bias=True, device=self.device, dtype=self.dtype
        )
        with self.torch.no_grad():
            linear.weight.normal_(0.0, depth**-0.5)
            linear.bias.zero_()  # it costs its addition, and does not dilute the error
        return linear.train(self.training)

    def input(self, shape: Shape) -> Any:
        """Return Gaussian activations of the shape (rows, depth)."""
        x = self.torch.randn(shape[0], shape[1], device=self.device, dtype=self.dtype)
        return x.requires_grad_() if self.training else x

    def copies(self, layer_bytes: float, shape: Shape, others: int = 0) -> int:
        """How many copies of a layer and its input fill the cache twice.

        Fewer where the device has no room for as many of ``others`` candidates; it is remembered
        (``cramped``) where they would all stay in the cache.
        """
        one = layer_bytes + 2 * shape[0] * shape[1]
        most = MOST_COPIES if self.on_gpu else CPU_COPIES
        wanted = max(1, min(most, math.ceil(CACHE_TIMES * self.cache_bytes / one)))
        room = self._room() / 2 / (others + 1)
        count = max(1, min(wanted, int(min(room / one, most))))
        self.cramped |= count < wanted and count * one < self.cache_bytes
        return count

    def _room(self) -> float:
        """Bytes of memory that are free on the device, or held by torch and not used."""
        if not self.on_gpu:
            return math.inf
        cuda = self.torch.cuda
        held = cuda.memory_reserved(self.device) - cuda.memory_allocated(self.device)
        return float(cuda.mem_get_info(self.device)[0] + held)

    def call(self, layer: Any, x: Any) -> Any:
        """Do what is timed: the forward pass, or forward and backward in training."""
        if not self.training:
            with self.torch.no_grad():
                return layer(x)
        y = layer(x)
        y.backward(y.detach())
        layer.zero_grad(set_to_none=True)  # the next call's gradients take this memory
        x.grad = None
        return y

    def device_time(self, one: Contender) -> float:
        """Milliseconds that the device needs for a call; of the wall clock on a CPU."""
        layer, x = one.next()
        if not self.on_gpu:
            begun = time.perf_counter()
            self.call(layer, x)
            return 1000 * (time.perf_counter() - begun)
        if self.cycles_per_ms:
            self.torch.cuda._sleep(int(one.cover_ms * self.cycles_per_ms))  # noqa: SLF001
        return self._between(lambda: self.call(layer, x))

    def host_time(self, one: Contender, calls: int = IN_A_ROW) -> float:
        """Milliseconds that the host needs to issue a call, and to wait inside it if it does."""
        sets = [one.next() for _ in range(calls)]
        self.wait()
        begun = time.perf_counter()
        for layer, x in sets:
            self.call(layer, x)
        took = 1000 * (time.perf_counter() - begun) / calls
        self.wait()
        return took


def prepared(bench: Bench, kind: Any, linear: Any, shape: Shape, others: int = 0) -> Contender:
    """Quantize the layer as often as the cache asks for, and run it; ``others`` will come after."""
    layer = kind.replaced(linear, training=bench.training)
    size = kind.weight_bytes(layer)
    count = bench.copies(size, shape, others)
    layers = [layer]
    layers += [kind.replaced(linear, training=bench.training) for _ in range(count - 1)]
    sets = [(layer, bench.input(shape)) for layer in layers]
    made = Contender(kind.name, sets, size / (shape[1] * shape[2]))
    made.error = relative_error(bench, layer, linear, shape)
    for each in [*sets[1:], *sets[:1] * WARM_UPS]:
        bench.call(*each)
        bench.wait()
    return made


def relative_error(bench: Bench, layer: Any, linear: Any, shape: Shape) -> float:
    """||y - y64||F / ||y64||F against float64 of the unquantized layer, on Gaussian data."""
    torch = bench.torch
    rows = min(shape[0], CHECKED_ROWS)
    columns = min(shape[2], CHECKED_COLUMNS)
    wrong, right = 0.0, 0.0
    with torch.no_grad():
        weight = linear.weight[:columns].double()
        bias = linear.bias[:columns].double()
        for _ in range(math.ceil(min(LEAST_CHECKED, CHECKED_ROWS) / rows)):
            x = torch.randn(rows, shape[1], device=bench.device, dtype=bench.dtype)
            y = layer(x)
            if tuple(y.shape) != (rows, shape[2]):
                raise ValueError(f"it returned {tuple(y.shape)}, not {(rows, shape[2])}")
            wanted = x.double() @ weight.t() + bias
            wrong += float((y[:, :columns].double() - wanted).norm() ** 2)
            right += float(wanted.norm() ** 2)
    if not math.isfinite(wrong):
        raise ValueError("its result is not finite")
    return math.sqrt(wrong / right)


def race(bench: Bench, field: list[Contender], until: float, say: Say) -> Iterator[Fault]:
    """Time the contenders in turn until ``until`` (time.monotonic), and name those that raise.

    They leave ``field``. Each round takes every one once; one that is much slower leaves the later
    rounds to the others, except for half, with which all are compared.
    """
    bench.rouse()
    for one in list(field):
        with _dropping(one, field) as fault:
            say(one.name, "being timed")
            _begin(bench, one)
        yield from fault
    for number in range(MOST):
        if number >= LEAST and time.monotonic() > until:
            return
        for one in _running(field, number):
            with _dropping(one, field) as fault:
                say(one.name, "being timed")
                one.device_ms.append(bench.device_time(one))
                if bench.on_gpu and (number < HOST_LEAST or _by_host(one)):
                    one.host_ms.append(bench.host_time(one))
            yield from fault


@contextlib.contextmanager
def _dropping(one: Contender, field: list[Contender]) -> Iterator[list[Fault]]:
    fault: list[Fault] = []
    try:
        yield fault
    except Exception as error:  # noqa: BLE001 - whatever a backend raises is its result
        field.remove(one)
        fault.append((one.name, error))


def _begin(bench: Bench, one: Contender) -> None:
    """Learn how long the device must be kept busy for this one."""
    bench.device_time(one)
    if bench.on_gpu:
        took = min(bench.host_time(one) for _ in range(2))
        one.cover_ms = max(COVER_MS, COVER_TIMES * took)


def _running(field: list[Contender], number: int) -> list[Contender]:
    if number < SLOW_ROUNDS:
        return list(field)
    fastest = min(_least_so_far(one) for one in field) if field else 0.0
    return [one for one in field if one.name == HALF or _least_so_far(one) <= SLOW * fastest]


def _least_so_far(one: Contender) -> float:
    return max(min(one.device_ms), min(one.host_ms) if one.host_ms else 0.0)


def _by_host(one: Contender) -> bool:
    """Whether the host may be what takes the time."""
    return statistics.median(one.host_ms) > 0.7 * statistics.median(one.device_ms)


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[round(share * (len(ordered) - 1))]
