"""Times the candidates of one shape in turn; runs in the examined interpreter.

What a call takes in eager mode is the larger of two times, for they overlap: what the device needs
(events around the call, in a stream that is kept busy before it, so that launches wait in the queue
and are not part of it) and what the host needs to issue it (wall time of calls in a row). A decode
step is bound by the second. Each call takes the next of several copies of its operands, together
twice as large as the cache, so that they come from memory as those of a deep model do.
"""

# ruff: noqa: ANN401 - layers and tensors are torch's, without its types

from __future__ import annotations

import contextlib
import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from qdoctor.choosing.bench import DATA
from qdoctor.choosing.samples import Samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qdoctor.choosing.bench import Bench

    Shape = tuple[int, int, int]
    Say = Callable[[str, str], None]
    Fault = tuple[str, Exception]

LEAST, MOST = 7, 60
"""Rounds: with fewer there is no median worth the name; more narrow it no further."""
HOST_LEAST = 3
"""Rows of calls that show whether the host is what takes the time; then only where it may be."""
WARM_UPS = 3
"""Of one copy; every other one is called once, for what a layer does in its first call."""
COVER_MS = 0.2
"""The device is kept busy at least as long before each call that is timed by events."""
COVER_TIMES = 3.0
"""... and as many times as long as the host needs to issue the call."""
CHECKED_ROWS, CHECKED_COLUMNS = 256, 1024
LEAST_CHECKED = 32
"""Rows of the error: a few decode steps' worth where a call has fewer."""
SLOW, SLOW_ROUNDS = 3.0, 3
"""So many times slower than the fastest needs no narrow spread: these rounds will do, unless other
programs had the cores meanwhile."""
HALF = "half"


class Contender:
    """One backend at one shape: copies of its layer with an input each, and its times."""

    def __init__(self, name: str, sets: list[Any], bytes_per_weight: float) -> None:
        """``sets`` are pairs of a layer and its input."""
        self.name, self.sets = name, sets
        self.bytes_per_weight = bytes_per_weight
        self.error = 0.0
        self.device, self.host = Samples(), Samples()
        self.cover_ms = COVER_MS
        self.turn = 0

    def next(self) -> Any:
        """Return the copy whose turn it is."""
        self.turn += 1
        return self.sets[self.turn % len(self.sets)]

    def cell(self) -> dict[str, Any]:
        """Return its figures, as ``model.Timed`` has them."""
        host = self.host.median() if self.host else None
        device = self.device.median()
        bound_by = self.host if host is not None and host > device else self.device
        spread = bound_by.differing()
        return {
            "milliseconds": bound_by.median(),
            "p10": _quantile(spread, 0.1),
            "p90": _quantile(spread, 0.9),
            "rel_error": self.error,
            "weight_bytes_per_param": self.bytes_per_weight,
            "device_milliseconds": device,
            "host_milliseconds": host,
            "repetitions": len(self.device),
            "disturbed": bound_by.is_disturbed(),
        }


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
    same = torch.Generator(bench.device).manual_seed(DATA)
    with torch.no_grad():
        weight = linear.weight[:columns].double()
        bias = linear.bias[:columns].double()
        for _ in range(math.ceil(min(LEAST_CHECKED, CHECKED_ROWS) / rows)):
            x = torch.randn(rows, shape[1], device=bench.device, dtype=bench.dtype, generator=same)
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
                one.device.take(partial(bench.device_time, one), by_host=not bench.on_gpu)
                if bench.on_gpu and (number < HOST_LEAST or _by_host(one)):
                    one.host.take(partial(bench.host_time, one))
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
    """Leave out the slow; what other programs made slow comes back if there is time for it."""
    if number < SLOW_ROUNDS:
        return list(field)
    fastest = min(_least_so_far(one) for one in field) if field else 0.0
    return [one for one in field if one.name == HALF or _stays(one, number, fastest)]


def _stays(one: Contender, number: int, fastest: float) -> bool:
    times = _least_so_far(one) / fastest if fastest > 0 else 1.0
    return times <= SLOW or (one.device.is_disturbed() and (times <= SLOW**2 or number >= LEAST))


def _least_so_far(one: Contender) -> float:
    return max(one.device.least(), one.host.least())


def _by_host(one: Contender) -> bool:
    """Whether the host may be what takes the time."""
    return one.host.median() > 0.7 * one.device.median()


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[round(share * (len(ordered) - 1))]
