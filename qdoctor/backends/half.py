"""Backend ``half``: products in bf16 or fp16, nothing quantized; what others are measured by."""

# ruff: noqa: ANN401 - torch is untyped here
# mypy: disable-error-code="misc"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - runs in the user's process, on demand

from qdoctor.backends.kind import Kind
from qdoctor.backends.precision import HALVES, cast_input, follow_cast, half_dtype

if TYPE_CHECKING:
    from collections.abc import Callable


def kind() -> Kind:
    """Return the backend; torch alone is enough."""
    return Half()


class HalfLinear(torch.nn.Linear):
    """``torch.nn.Linear`` that multiplies in ``compute_dtype`` and answers in its input's dtype.

    Its weight may be wider than that: then it is rounded in each forward, and trains at its width,
    as under autocast.
    """

    compute_dtype: Any

    def forward(self, x: Any) -> Any:
        """Apply the layer to x (..., in_features), floating."""
        x = cast_input(self, x)
        dtype = self.compute_dtype
        bias = None if self.bias is None else self.bias.to(dtype)
        return torch.nn.functional.linear(x.to(dtype), self.weight.to(dtype), bias).to(x.dtype)

    def _apply(self, fn: Callable[[Any], Any], *rest: Any, **more: Any) -> Any:
        """Let the dtype that the weight had go along."""
        super()._apply(fn, *rest, **more)
        follow_cast(self, fn)
        return self

    def extra_repr(self) -> str:
        """Say what torch.nn.Linear says, and the dtype of the product."""
        return f"{super().extra_repr()}, compute_dtype={self.compute_dtype}"


class Half(Kind):
    """Half precision: of a layer that is in it already, a copy; of a wider one, a HalfLinear."""

    name = "half"
    trainable = True

    def spares(self, linear: Any, *, training: bool = False) -> str:
        """A layer in half precision is what this backend would make of it."""
        del training
        dtype = linear.weight.dtype
        return f"its weight is {dtype} already" if dtype in HALVES else ""

    def replaced(self, linear: Any, *, training: bool = False) -> Any:
        """Return the layer in half precision; with ``training`` a wide weight keeps its dtype."""
        weight, bias = linear.weight, linear.bias
        dtype = weight.dtype if weight.dtype in HALVES else half_dtype(weight.device)
        made = _empty(linear, torch.nn.Linear if dtype == weight.dtype else HalfLinear)
        if dtype != weight.dtype:
            made.compute_dtype = dtype
        kept = weight.dtype if training else dtype
        made.weight = _copy(weight, kept)
        made.bias = None if bias is None else _copy(bias, kept)
        return made.train(linear.training)


def _empty(linear: Any, layer: Any) -> Any:
    return layer(linear.in_features, linear.out_features, linear.bias is not None, device="meta")


def _copy(tensor: Any, dtype: Any) -> Any:
    value = tensor.detach().to(dtype, copy=True)
    return torch.nn.Parameter(value, requires_grad=tensor.requires_grad)
