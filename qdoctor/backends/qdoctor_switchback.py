"""Backend ``qdoctor-switchback``: qdoctor's own SwitchBackLinear, the weight quantized by row."""

# ruff: noqa: ANN401 - torch is untyped here
# mypy: disable-error-code="misc"

from __future__ import annotations

from typing import Any

import torch  # noqa: TID253 - runs in the user's process, on demand

from qdoctor.backends.kind import Kind
from qdoctor.backends.rewritable import Rewritable, RewritableWeight
from qdoctor.nn.frozen import FrozenWeight
from qdoctor.nn.gradients import quantize_weight
from qdoctor.nn.products import NoInt8ProductError, way_on
from qdoctor.nn.switchback import SwitchBackLinear


def kind() -> Kind:
    """Return the backend; torch alone is enough, and Triton makes it fast on a GPU."""
    return Switchback()


class FrozenSwitchBackLinear(Rewritable, SwitchBackLinear):
    """A SwitchBackLinear that was prepared for eval and may stand in a model that trains.

    Its int8 weight gets no gradient, its input does, so adapters beside and before it can train:
    ``train()`` leaves it in eval mode as long as there is no weight to train. Adapters can be
    merged into it: see RewritableWeight.
    """

    def is_quantized(self) -> bool:
        """Whether the weight is int8."""
        return "W_int8" in self.__dict__.get("_buffers", ())

    def requantize(self, weight: Any) -> None:
        """Write another weight into the buffers."""
        weight = weight.to(self.W_int8.device, self.int8_original_dtype)
        q, state = quantize_weight(weight, vector_wise=self.vector_wise_quantization)
        self.put("W_int8", q)
        self.put("state_W", state)

    def __getattr__(self, name: str) -> Any:
        """Give the weight of a prepared layer to who reads it or merges into it."""
        found = super().__getattr__(name)
        prepared = name == "weight" and isinstance(found, FrozenWeight)
        return RewritableWeight.of(self, found) if prepared else found

    def train(self, mode: bool = True) -> Any:  # noqa: FBT001, FBT002 - torch's signature
        """Set training mode, unless the weight is prepared."""
        return super().train(mode and not self.prepared)


class Switchback(Kind):
    """int8 products with one scale a row on both sides; trainable (arXiv:2304.13013)."""

    name = "qdoctor-switchback"
    trainable = True

    def refuses(self, linear: Any) -> str:
        """Refuse where the device has no int8 product (it is tried once)."""
        try:
            way_on(linear.weight.device)
        except NoInt8ProductError as error:
            return str(error)
        return ""

    def replaced(self, linear: Any, *, training: bool = False) -> Any:
        """Return a SwitchBackLinear: prepared, or with ``training`` one that keeps its weight."""
        layer = SwitchBackLinear if training else FrozenSwitchBackLinear
        made = layer(
            linear.in_features,
            linear.out_features,
            linear.bias is not None,
            device="meta",
            vector_wise_quantization=True,
        )
        made.weight = _parameter(linear.weight, copy=training)
        made.bias = None if linear.bias is None else _parameter(linear.bias, copy=True)
        if not training:
            made.prepare_for_eval()
        return made.train(linear.training)


def _parameter(tensor: Any, *, copy: bool) -> Any:
    value = tensor.detach()
    if copy or value.is_inference():  # one of inference mode takes no gradient elsewhere
        value = value.clone()
    return torch.nn.Parameter(value, tensor.requires_grad)
