"""Backend ``torch-fp8``: ``torch._scaled_mm`` on e4m3 numbers, as a layer of ours.

The weight is quantized once, by row; activations as they come, by row where the device multiplies
so, else by the largest value of the whole tensor (tried once a device).
"""

# ruff: noqa: ANN401 - torch is untyped here
# mypy: disable-error-code="misc"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - runs in the user's process, on demand

from qdoctor.backends.kind import BackendUnavailable, Kind
from qdoctor.backends.precision import HALVES, cast_input, follow_cast
from qdoctor.backends.rewritable import Rewritable, RewritableWeight
from qdoctor.backends.scaled_mm import (
    UNIT,
    NoFp8ProductError,
    Product,
    multiply,
    padded,
    quantize,
    way_on,
)

if TYPE_CHECKING:
    from collections.abc import Callable


_way_on = torch.compiler.assume_constant_result(way_on)


def kind() -> Kind:
    """Return the backend. Raises BackendUnavailable where torch has no fp8 product at all."""
    if not (hasattr(torch, "_scaled_mm") and hasattr(torch, "float8_e4m3fn")):
        raise BackendUnavailable(
            f"torch-fp8: torch {torch.__version__} has no fp8 product (torch._scaled_mm): "
            "`python -m pip install -U torch`"
        )
    return TorchFp8()


class Fp8Linear(Rewritable):
    """A linear layer whose weight is e4m3 (OFP8) and whose product ``torch._scaled_mm`` computes.

    Buffers: ``weight_fp8`` (out_features x in_features, both filled up with zeros to whole 16s) and
    ``weight_scale`` (float32, rows x 1); the weight is about their product. Takes
    (..., in_features) in fp16, bf16 or fp32 and answers in that dtype, under autocast in
    autocast's. Inputs and bias get gradients, by the weight as it is kept; the weight gets none.
    ``weight`` can be read, as a new tensor in the dtype it had, and adapters can be merged into it:
    see RewritableWeight.
    Raises NoFp8ProductError where it is moved to a device without an fp8 product.
    """

    weight_fp8: Any
    weight_scale: Any

    def __init__(self, weight: Any, bias: Any) -> None:
        """Quantize a weight (out_features x in_features, floating) on its device; take the bias."""
        super().__init__(weight.shape[1], weight.shape[0], device="meta")
        self.int8_original_dtype = weight.dtype  # the name under which OpenCLIP looks for it
        del self.weight
        q, scale = self._quantized(weight.detach())
        self.register_buffer("weight_fp8", q)
        self.register_buffer("weight_scale", scale)
        self.bias = bias

    def _quantized(self, weight: Any) -> tuple[Any, Any]:
        """Quantize a weight by row, filled up with zeros to whole units."""
        missing = -self.out_features % UNIT
        if missing:
            weight = torch.nn.functional.pad(weight, (0, 0, 0, missing))
        return quantize(weight, width=self.in_features + -self.in_features % UNIT)

    def is_quantized(self) -> bool:
        """Whether the weight is fp8: once the layer is made."""
        return "weight_fp8" in self.__dict__.get("_buffers", ())

    def requantize(self, weight: Any) -> None:
        """Write another weight into the buffers."""
        weight = weight.to(self.weight_fp8.device, self.int8_original_dtype)
        q, scale = self._quantized(weight)
        self.put("weight_fp8", q)
        self.put("weight_scale", scale)

    def forward(self, x: Any) -> Any:
        """Apply the layer to x (..., in_features)."""
        x = cast_input(self, x)
        if not x.numel() or x.is_meta:
            return x @ x.new_zeros(1, 1).expand(self.in_features, self.out_features)
        y = self._multiplied(x.reshape(-1, self.in_features))
        if y.shape[1] != self.out_features:
            y = y[:, : self.out_features]
        return y.to(x.dtype).reshape(*x.shape[:-1], self.out_features)

    def _multiplied(self, rows: Any) -> Any:
        own = self._buffers  # each look-up as an attribute takes longer than all else here
        weight, bias = (own["weight_fp8"], own["weight_scale"]), self._parameters["bias"]
        if bias is not None:
            bias = padded(bias, weight[0].shape[0] - self.out_features)
        way = _way_on(rows.device, rows.dtype)
        if torch.is_grad_enabled():
            return Product.apply(rows, *weight, bias, way)
        return multiply(rows, weight, bias, way)

    def __getattr__(self, name: str) -> Any:
        """Give the weight to who reads it or merges into it."""
        if name == "weight" and self.is_quantized():
            scaled = self.weight_fp8.to(torch.float32) * self.weight_scale
            weight = scaled[: self.out_features, : self.in_features]
            return RewritableWeight.of(self, weight.to(self.int8_original_dtype))
        return super().__getattr__(name)

    def _apply(self, fn: Callable[[Any], Any], *rest: Any, **more: Any) -> Any:
        """Keep weight and scales as they are when the module is cast: only move them."""
        before = self.weight_fp8, self.weight_scale
        super()._apply(fn, *rest, **more)
        follow_cast(self, fn)
        if self.weight_fp8.dtype != before[0].dtype:
            self.weight_fp8 = before[0].to(self.weight_fp8.device)
        if self.weight_scale.dtype != before[1].dtype:
            self.weight_scale = before[1].to(self.weight_scale.device)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Let pickle see bytes: torch 2.13 writes fp8 tensors so that it cannot read them back."""
        own = {**self._buffers, "weight_fp8": self.weight_fp8.view(torch.uint8)}
        return {**vars(self), "_buffers": own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take it back from bytes."""
        super().__setstate__(state)
        self._buffers["weight_fp8"] = self.weight_fp8.view(torch.float8_e4m3fn)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        """Quantize a weight that was saved as floating numbers."""
        name = prefix + "weight"
        given = state_dict.get(name)
        if given is not None and tuple(given.shape) == (self.out_features, self.in_features):
            self.rewrite(given)
            own = {prefix + buffer: value for buffer, value in self._buffers.items()}
            state_dict = {key: state_dict[key] for key in state_dict if key != name} | own
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _get_name(self) -> str:
        return "qdoctor.Fp8Linear"


class TorchFp8(Kind):
    """e4m3 weights and activations; any shape (filled up to whole 16s), inputs get gradients."""

    name = "torch-fp8"

    def refuses(self, linear: Any) -> str:
        """Refuse where the device has no fp8 product (it is tried once), and float64."""
        if linear.weight.dtype not in {*HALVES, torch.float32}:
            return f"its weight is {linear.weight.dtype}: fp8 would lose nearly all of it"
        try:
            way_on(linear.weight.device, linear.weight.dtype)
        except NoFp8ProductError as error:
            return str(error)
        return ""

    def replaced(self, linear: Any, *, training: bool = False) -> Any:
        """Return an Fp8Linear of the layer's weight and a copy of its bias."""
        del training  # why_not says why there is none
        bias = linear.bias
        if bias is not None:
            bias = torch.nn.Parameter(bias.detach().clone(), bias.requires_grad)
        return Fp8Linear(linear.weight, bias).train(linear.training)
