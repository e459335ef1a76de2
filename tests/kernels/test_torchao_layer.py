"""What a layer of torchao takes of a device's memory before it is timed, counted without a GPU.

The device ``meta`` stands for the GPU: what lies there takes no room, and can be counted.
"""

# ruff: noqa: ANN401 - modules and tensors, without their types

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

Load = Callable[[str], Any]

MIB = 1 << 20
WEIGHT_MIB, AS_FLOAT32_MIB = 8, 16
"""Of the common product's layer, 1024 to 4096."""
ELSEWHERE = "meta"


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture
def layers(load: Load) -> Any:
    return load("_torchao_layer")


class Quantizer:
    """Quantizes as torchao casts to fp8: a weight is held three times in float32.

    ``needs`` is a device that it refuses to quantize anywhere but on; ``alone``: it does nothing.
    """

    def __init__(self, torch: Any, needs: str | None = None, *, alone: bool = False) -> None:
        self.torch, self.needs, self.alone = torch, needs, alone
        self.devices: list[str] = []
        self.columns: list[int] = []

    def __call__(self, model: Any) -> None:
        weight = model[0].weight
        self.devices.append(weight.device.type)
        self.columns.append(weight.shape[0])
        if self.needs not in {None, weight.device.type}:
            raise NotImplementedError("no such operator for this backend")
        if self.alone:
            return
        wide = weight.detach().float()
        scaled = wide / 448
        kept = scaled.clamp(-448, 448).to(self.torch.float8_e4m3fn)
        model[0].weight = self.torch.nn.Parameter(kept, requires_grad=False)
        model[0].quantized = True


def peak_mib(torch: Any, device: str, action: Callable[[], Any]) -> float:
    """The most that lives on a device at once during an action, of what it made there."""
    mode = pytest.importorskip("torch.utils._python_dispatch").TorchDispatchMode

    class Counted(mode):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__()
            self.live: dict[int, int] = {}
            self.peak = 0

        def __torch_dispatch__(
            self, call: Any, _types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            made = call(*args, **(kwargs or {}))
            if isinstance(made, torch.Tensor) and made.device.type == device:
                self.add(made.untyped_storage())
            return made

        def add(self, storage: Any) -> None:
            key = storage._cdata
            if key not in self.live:
                self.live[key] = storage.nbytes()
                weakref.finalize(storage, self.live.pop, key, None)
                self.peak = max(self.peak, sum(self.live.values()))

    with Counted() as counted, torch.no_grad():
        action()
        gc.collect()
    return float(counted.peak) / MIB


def test_a_layer_that_is_moved_takes_what_is_left_of_it_and_no_copies(
    layers: Any, torch: Any
) -> None:
    quantize = Quantizer(torch)
    made = []
    taken = peak_mib(
        torch,
        ELSEWHERE,
        lambda: made.append(layers.to_time(torch, quantize, ELSEWHERE, moved=True)),
    )
    assert quantize.devices == ["cpu"]
    layer = made[0].model[0]
    assert (layer.weight.device.type, layer.bias.device.type) == (ELSEWHERE, ELSEWHERE)
    assert layer.weight.dtype == torch.float8_e4m3fn
    assert taken < WEIGHT_MIB + 1  # what it was made of, half of it kept


def test_quantized_where_it_runs_it_takes_its_copies_there(layers: Any, torch: Any) -> None:
    quantize = Quantizer(torch)
    taken = peak_mib(
        torch, ELSEWHERE, lambda: layers.to_time(torch, quantize, ELSEWHERE, moved=False)
    )
    assert quantize.devices == [ELSEWHERE]
    assert taken >= WEIGHT_MIB + 2 * AS_FLOAT32_MIB


@pytest.mark.parametrize(("needs", "alone"), [(ELSEWHERE, False), (None, True)])
def test_what_cannot_be_quantized_on_the_cpu_is_quantized_where_it_runs(
    layers: Any, torch: Any, needs: str | None, *, alone: bool
) -> None:
    quantize = Quantizer(torch, needs, alone=alone)
    with torch.no_grad():
        made = layers.to_time(torch, quantize, ELSEWHERE, moved=True)
    assert quantize.devices == ["cpu", ELSEWHERE]
    assert made.model[0].weight.device.type == ELSEWHERE
    assert hasattr(made.model[0], "quantized") is not alone


def test_what_fails_where_it_runs_is_raised(layers: Any, torch: Any) -> None:
    with pytest.raises(NotImplementedError):
        layers.to_time(torch, Quantizer(torch, "cuda"), ELSEWHERE, moved=True)


def test_the_rows_that_are_compared_are_those_that_were_quantized(layers: Any, torch: Any) -> None:
    with torch.no_grad():
        made = layers.to_time(torch, Quantizer(torch, alone=True), "cpu", moved=True)
    assert torch.equal(made.model[0].weight[: len(made.weight)], made.weight)
    assert torch.equal(made.model[0].bias, made.bias)


def test_the_large_layer_is_quantized_while_nothing_else_needs_room(
    layers: Any, torch: Any
) -> None:
    quantize = Quantizer(torch, alone=True)
    held = layers.Held("a product", ((4, 64, 32),), 0.01, ("aten::",))
    fields = {"device": "cpu", "evidence": []}
    with torch.no_grad():
        outcome = layers.judged(torch, quantize, held, fields, lambda _: None)
    assert outcome["outcome"] == "passed"
    assert quantize.columns == [512, 32]
