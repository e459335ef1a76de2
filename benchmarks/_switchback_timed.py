"""Times the contenders of one cell in turn. For switchback.py.

On a GPU a sample is the time between two events around a call, in a stream that is kept busy by
passes over memory (``Clock.cover``) until the call has been issued: launching is then no part of
it. The clock knows how long those passes take and how long issuing took, so a sample that came too
late for its cover, because the host was held up, is known to be none, and is dropped. What runs
beside us on the GPU itself is not seen that way: it shows as a spread.
"""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import gc
import math
import statistics
import time
from typing import TYPE_CHECKING, Any

from benchmarks._phases import within
from benchmarks._switchback_contenders import ANCHORS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks._switchback_contenders import Contender

    Call = Callable[[], Any]

CHECKED_ROWS = 256
FLUSHED_BYTES = 512 * 2**20
COVER_MS = 2.0
"""Work queued before each call at least: below, the first contender after a wait ran dry."""
COVER_TIMES = 3.0
"""... and so many times what the host needs to issue the call."""
LEAST, MOST = 10, 100
START_SECONDS = 40.0
"""In which a contender must have run thrice: compiling one takes 3 to 10."""
AGAIN = 2
"""Times that a cell is timed again whose spread says that something disturbed it."""
UNSETTLED = 0.15
"""A spread beyond this comes from something else that ran meanwhile: the cell decides nothing."""
COLD_TIMES, COLD_MS = 1.6, 0.03
"""By how much a single call may outlast one of many in a row, whose operands are in the cache."""
CACHES = {
    "clean": "the L2 cache is filled by reading other memory before each call",
    "written": "the L2 cache is filled by writing other memory before each call, which the call"
    " then has to make room in",
    "warm": "what the call before left in the L2 cache stays there: the same operands, as a rule",
}


class GpuLostError(Exception):
    """A contender took the device with it: nothing more can be measured in this process."""

    def __init__(self, contenders: Sequence[str], why: str) -> None:
        """Blame one contender, or several where nobody knows which; ``why`` is what was raised."""
        lead = "one of " * (len(contenders) > 1)
        super().__init__(f"{lead}{', '.join(contenders)} broke the device: {why}")
        self.contenders, self.why = contenders, why


class Sample:
    """One timed call: its milliseconds once the device is done, and whether it was issued late."""

    def __init__(self, before: Any, after: Any, *, late: bool) -> None:
        """``before`` and ``after`` are events, or seconds of the wall clock."""
        self.before, self.after, self.late = before, after, late

    def milliseconds(self) -> float:
        """Return the time between; the device must be done."""
        if isinstance(self.before, float):
            return 1000 * (float(self.after) - self.before)
        return float(self.before.elapsed_time(self.after))


class Clock:
    """The device's clock; ``cache`` says what lies in its cache at each call (see CACHES)."""

    def __init__(self, torch: Any, device: str, cache: str) -> None:
        """Take the memory that fills the cache; learn how long a pass over it takes."""
        self.torch, self.device, self.cache = torch, device, cache
        self.start_seconds = START_SECONDS
        self.on_gpu = device != "cpu"
        if self.on_gpu:
            self._memory = torch.zeros(FLUSHED_BYTES // 4, device=device)
            self._pass_ms = self._of_a_pass()

    def wait(self) -> None:
        """Wait until the device is done."""
        if self.on_gpu:
            self.torch.cuda.synchronize()

    def free(self) -> None:
        """Give unused memory back."""
        gc.collect()
        if self.on_gpu:
            self.torch.cuda.empty_cache()

    def sample(self, call: Call, cover_ms: float) -> Sample:
        """Time a call, covered by at least so much work."""
        if not self.on_gpu:
            start = time.perf_counter()
            call()
            return Sample(start, time.perf_counter(), late=False)
        passes = max(1, math.ceil(cover_ms / self._pass_ms))
        begun = time.perf_counter()
        for _ in range(passes):
            self._pass()
        before, after = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        call()
        after.record()
        issued = 1000 * (time.perf_counter() - begun)
        return Sample(before, after, late=issued > passes * self._pass_ms)

    def _pass(self) -> None:
        if self.cache == "written":
            self._memory.zero_()
        elif self.cache == "clean":
            self._memory.sum()
        else:  # the cache is left as it is: this keeps only the device busy
            self.torch.cuda._sleep(200_000)  # noqa: SLF001 - torch's own way to keep it busy

    def _of_a_pass(self, passes: int = 20) -> float:
        """Return what a pass takes at least: where it were longer, a late sample would pass."""
        taken = []
        for _ in range(3):
            before, after = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
            self._pass()
            before.record()
            for _ in range(passes):
                self._pass()
            after.record()
            self.wait()
            taken.append(float(before.elapsed_time(after)) / passes)
        return min(taken)


class Running:
    """One contender of a cell: its call, what it costs the host, and its samples."""

    def __init__(self, call: Call, error: float | None, clock: Clock) -> None:
        """Time some calls in a row: ``call_ms`` to their end, ``issue_ms`` until issued."""
        self.call, self.error = call, error
        self.call_ms, issue_ms = in_a_row(call, clock)
        self.cover_ms = max(COVER_MS, COVER_TIMES * issue_ms)
        self.samples: list[Sample] = []

    def figures(self) -> dict[str, Any]:
        """Return what is kept of it. Late samples count only where there is next to nothing else.

        Such a cell has a wide spread, by which it is known.
        """
        good = [one for one in self.samples if not one.late]
        enough = len(good) >= min(LEAST, len(self.samples)) / 2
        times = sorted(one.milliseconds() for one in (good if enough else self.samples))
        return {
            "ms": statistics.median(times), "p10": quantile(times, 0.1),
            "p90": quantile(times, 0.9), "repetitions": len(times),
            "late": len(self.samples) - len(good), "call_ms": self.call_ms,
            "rel_error": self.error,
        }  # fmt: skip


def measured(
    clock: Clock, made: dict[str, Contender], rows: int, passes: str, seconds: float
) -> dict[str, Any]:
    """Time the contenders of one layer on so many rows. Entry "" is what errors are judged by.

    Each gets about ``seconds``; what fails, for want of memory say, costs only itself. Raises
    ``GpuLostError`` where nothing can be measured any more.
    """
    failed: dict[str, str] = {}
    running: dict[str, Running] = {}
    linear = made[""].layer
    for name in filter(None, made):
        try:
            with within(clock.start_seconds):
                running[name] = started(clock, made[name], linear, rows, passes)
        except Exception as error:  # noqa: BLE001, PERF203 - a peer that fails is a result
            failed[name] = told_of(clock, name, error)
    found = timed(clock, running, seconds, failed)
    for _ in range(AGAIN):
        if all(quiet(one) for one in found.values()):
            break
        again = timed(clock, running, seconds, failed)
        found = {name: settled(found[name], one) for name, one in again.items()}
    return {
        "rows": rows, "depth": linear.in_features, "columns": linear.out_features,
        "passes": passes, "cache": clock.cache, "failed": failed, "contenders": found,
    }  # fmt: skip


def settled(first: dict[str, Any], again: dict[str, Any]) -> dict[str, Any]:
    """Of two measurements take the quieter one; one that is quiet stays."""
    if quiet(first):
        return first
    return again if quiet(again) or spread(again) < spread(first) else first


def spread(one: dict[str, Any]) -> float:
    """Half the way from the 10th to the 90th percentile, relative to the median."""
    return float((one["p90"] - one["p10"]) / 2 / one["ms"])


def quiet(one: dict[str, Any]) -> bool:
    """Say whether nothing seems to have disturbed a contender's times.

    Two signs: a wide spread, and single calls that outlast those in a row. The second is that of a
    GPU which another process shares: it takes turns of milliseconds, alike for all samples.
    """
    alike = one["ms"] <= COLD_TIMES * one["call_ms"] + COLD_MS
    return alike and spread(one) <= UNSETTLED


def told_of(clock: Clock, name: str, error: BaseException) -> str:
    """Put a failure into a line; free what it held; raise where the device is lost."""
    text = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    error.__traceback__ = None  # its frames hold tensors
    clock.free()
    try:
        clock.wait()
    except Exception as lost:
        raise GpuLostError([name], text) from lost
    return text


def started(clock: Clock, one: Contender, linear: Any, rows: int, passes: str) -> Running:
    """Make a contender's call and run it thrice; learn its forward's relative error."""
    torch = clock.torch
    x = _input(torch, (rows, linear.in_features), one.dtype, clock.device)
    error = relative_error(torch, one.layer, linear, x) if one.comparable else None
    call = _call(torch, one.layer, x, linear.out_features, training=passes != "forward")
    for _ in range(3):
        call()
    clock.wait()
    return Running(call, error, clock)


def _input(torch: Any, size: tuple[int, int], dtype: Any, device: str) -> Any:
    if dtype == torch.int8:
        return torch.randint(-127, 128, size, device=device, dtype=dtype)
    return torch.randn(size, device=device, dtype=dtype)


def _call(torch: Any, layer: Any, x: Any, columns: int, *, training: bool) -> Call:
    if not training:

        def forward() -> Any:
            with torch.no_grad():
                return layer(x)

        return forward
    x = x.requires_grad_()
    grad = torch.randn(x.shape[0], columns, device=x.device, dtype=x.dtype)

    def both() -> None:
        x.grad = None
        layer.zero_grad(set_to_none=True)
        layer(x).backward(grad)

    return both


def relative_error(torch: Any, layer: Any, linear: Any, x: Any) -> float:
    """||y - y64||F / ||y64||F of the first CHECKED_ROWS rows, against float64."""
    some = x[:CHECKED_ROWS].detach()
    with torch.no_grad():
        wanted = some.double() @ linear.weight.double().t() + linear.bias.double()
        return float((layer(some).double() - wanted).norm() / wanted.norm())


def timed(
    clock: Clock, running: dict[str, Running], seconds: float, failed: dict[str, str]
) -> dict[str, dict[str, Any]]:
    """Take samples, contenders in turn until each had its seconds; one that fails leaves."""
    for one in running.values():
        one.samples = []
    start = time.perf_counter()
    for repetition in range(MOST):
        if repetition >= LEAST and time.perf_counter() - start > seconds * len(running):
            break
        for name, one in list(running.items()):
            try:
                one.samples.append(clock.sample(one.call, one.cover_ms))
            except Exception as error:  # noqa: BLE001, PERF203 - a peer that fails is a result
                del running[name]
                failed[name] = told_of(clock, name, error)
        try:
            clock.wait()
        except Exception as lost:
            suspects = [name for name in running if name not in ANCHORS] or list(running)
            raise GpuLostError(suspects, f"{lost}".splitlines()[0][:200]) from lost
    return {name: one.figures() for name, one in running.items()}


def in_a_row(call: Call, clock: Clock, calls: int = 20) -> tuple[float, float]:
    """Return milliseconds a call, to the end of all and until all were issued."""
    clock.wait()
    start = time.perf_counter()
    for _ in range(calls):
        call()
    issued = time.perf_counter()
    clock.wait()
    return 1000 * (time.perf_counter() - start) / calls, 1000 * (issued - start) / calls


def quantile(ordered: list[float], share: float) -> float:
    """Return the value below which that share of the ordered ones lies."""
    return ordered[round(share * (len(ordered) - 1))]
