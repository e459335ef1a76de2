"""The device that candidates are timed on: its clock, its cache, its memory; and one call's time.

Runs in the examined interpreter; imports the standard library alone, torch comes as an argument.
"""

# ruff: noqa: ANN401 - torch comes as an argument, without its types

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdoctor.choosing.timing import Contender

    Shape = tuple[int, int, int]

IN_A_ROW = 10
"""Calls whose issuing is timed together: one alone would be timed as the first after a wait."""
CYCLES = 4000000
"""Of a spin: 2 ms at 2 GHz."""
STEADY, RISEN, ROUSE_SECONDS = 20, 0.97, 0.4
"""Spins in a row at nearly the highest clock that was seen, until which it counts as up."""
MOST_COPIES, CPU_COPIES = 24, 4
CACHE_TIMES = 2
"""Copies of the operands are this many times as large as the cache, as far as the number allows."""
CACHE_BYTES = 64 << 20  # where torch does not tell: larger than most
WEIGHTS, DATA = 7, 11
"""Seeds of the weights, and of what errors are taken on, which must not be alike: no candidate has
luckier data than another, whatever was measured before it."""


class Bench:
    """Where and how calls are timed: the device, its cache, and how long it can be kept busy."""

    def __init__(self, torch: Any, device: str, training: bool) -> None:  # noqa: FBT001
        """Start the device. ``device`` is ``cuda:N`` or ``cpu``; raises what torch raises."""
        self.torch, self.device, self.training = torch, torch.device(device), training
        self.on_gpu = self.device.type == "cuda"
        if self.on_gpu:
            torch.cuda.set_device(self.device)
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
        self.torch.manual_seed(WEIGHTS)
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
        """Milliseconds that the device needs for a call; of the wall clock on a CPU.

        On a GPU another call goes before it, untimed. The first after another candidate's Python
        is issued late: on an H100 up to 0.3 ms after the device had waited for it long enough,
        and half, which comes after the slowest, seemed to take twice its time.
        """
        if not self.on_gpu:
            layer, x = one.next()
            begun = time.perf_counter()
            self.call(layer, x)
            return 1000 * (time.perf_counter() - begun)
        self.call(*one.next())
        layer, x = one.next()
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
