"""Backend ``torchao-int8``: torchao's dynamic int8; trains by its prototype of mixed precision."""

# ruff: noqa: ANN401 - torch is untyped here
# mypy: disable-error-code="no-any-return,misc,valid-type"

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import Any

import torch  # noqa: TID253 - runs in the user's process, on demand

from qdoctor.backends.precision import autocast
from qdoctor.backends.torchao_layers import TorchAo, like, recipes

FEWEST_ROWS = 2
"""torchao's scaled int8 product takes no single row: it wants a scale for each of several."""


def kind() -> TorchAo:
    """Return the backend. Raises BackendUnavailable without a torchao that has int8."""
    return TorchAoInt8()


class TorchAoInt8(TorchAo):
    """int8 rows of weights and activations.

    On a GPU torch's int8 product takes whole 8s and at least 17 rows; otherwise torchao multiplies
    in float32 or on the CPU without a word. Other sizes are refused, and rows of zeros are added.
    In training the weight stays as it is, and all three products are int8.
    """

    name = "torchao-int8"
    format = "int8"
    fewest_rows = 17
    units = (8, 8)
    trainable = True

    def why_not(self, linear: Any, *, training: bool = False) -> str:
        """Judge the layer for inference as every backend does; for training by a trial."""
        reason = super().why_not(linear, training=training)
        if reason or not training:
            return reason
        return _untrainable(linear.weight.device, linear.weight.dtype)

    def replaced(self, linear: Any, *, training: bool = False) -> Any:
        """Return a TorchAoLinear; with ``training`` torchao's own layer for int8 training."""
        if not training:
            return super().replaced(linear)
        made = like(linear, torch.nn.Linear)
        weight = linear.weight
        made.weight = torch.nn.Parameter(weight.detach().clone(), weight.requires_grad)
        recipes().trainable_int8().apply(torch.nn.Sequential(made))
        made.__class__ = _training_layer()
        return made.train(linear.training)


@lru_cache(maxsize=1)
def _training_layer() -> Any:
    """Make torchao's training layer heed autocast, and take any input's layout."""
    module = importlib.import_module(recipes().TRAINING)
    base = module.int8_mixed_precision.Int8MixedPrecisionTrainingLinear

    class Int8TrainingLinear(base):
        """torchao's int8 mixed-precision layer, for inputs of any layout and under autocast."""

        def forward(self, x: Any) -> Any:
            x = autocast(x)
            flat = x.reshape(-1, self.in_features).contiguous()
            rows = flat.shape[0]
            if rows < FEWEST_ROWS:
                flat = torch.nn.functional.pad(flat, (0, 0, 0, FEWEST_ROWS - rows))
            y = super().forward(flat)[:rows].to(x.dtype)
            return y.view(*x.shape[:-1], self.out_features)

    return Int8TrainingLinear


@lru_cache(maxsize=64)
def _untrainable(device: Any, dtype: Any) -> str:
    """Say how a small layer fails to train here; ``""`` if it trains, by int8 products."""
    draw = torch.Generator().manual_seed(7)
    sample = torch.randn(128, 96, generator=draw).to(device=device, dtype=dtype)
    linear = torch.nn.Linear(96, 64, device="meta", dtype=dtype)
    weight = torch.randn(64, 96, generator=draw).to(device=device, dtype=dtype)
    linear.weight, linear.bias = (
        torch.nn.Parameter(weight),
        torch.nn.Parameter(weight[:, 0].clone()),
    )
    sample.requires_grad_()
    try:
        with torch.enable_grad():
            layer = TorchAoInt8.replaced(_bare(), linear, training=True)
            y = layer(sample)
            y.backward(torch.ones_like(y))
        exact = sample.detach().double() @ weight.double().t() + weight[:, 0].double()
        lost = float((y.detach().double() - exact).norm() / exact.norm())
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever torchao raises is its answer
        first = (str(error).strip() or "no message").splitlines()[0][:300]
        return f"torchao's int8 training does not work on {device}: {type(error).__name__}: {first}"
    gradients = layer.weight.grad is not None and sample.grad is not None
    if gradients and LEAST <= lost <= MOST:
        return ""
    return (
        f"torchao's int8 training computes wrongly on {device}: relative error {lost:.2g}, where "
        f"int8 loses {LEAST} to {MOST}" + ("" if gradients else ", and no gradients")
    )


LEAST, MOST = 0.005, 0.02
"""What int8 of both operands loses on Gaussian data is near 0.01; less was not multiplied in it."""


def _bare() -> TorchAoInt8:
    """Make the backend without asking whether it is available: it is being tried."""
    return TorchAoInt8.__new__(TorchAoInt8)
