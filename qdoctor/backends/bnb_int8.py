"""Backend ``bnb-int8``: bitsandbytes' Linear8bitLt, LLM.int8() (arXiv:2208.07339)."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - runs in the user's process, on demand

from qdoctor.backends.kind import Kind, bytes_of, library
from qdoctor.backends.transformers_configs import bits_and_bytes
from qdoctor.backends.trial import failure

if TYPE_CHECKING:
    from collections.abc import Sequence

INSTALL = "python -m pip install bitsandbytes"
THRESHOLD = 6.0
"""Columns of the activations with a value of this size or more stay in 16 bit. It is the paper's
value and transformers' default. Language models have such columns, and without the decomposition
one makes a whole row's steps coarse: with one column of 40 among Gaussian ones the error is 0.04
instead of 0.01. It costs 0.63 instead of 0.47 ms (4096 rows of 4096 to 4096, H100, bitsandbytes
0.50.2), and torch.compile breaks its graph at each layer, as a shape depends on the data."""


def kind() -> Kind:
    """Return the backend. Raises BackendUnavailable without a bitsandbytes that imports."""
    library("bitsandbytes", backend="bnb-int8", install=INSTALL)
    return BnbInt8()


class BnbInt8(Kind):
    """int8 weights with a scale a row, activations quantized by row as they come."""

    name = "bnb-int8"
    trainable = True

    def why_not(self, linear: Any, *, training: bool = False) -> str:
        """Refuse training, too, where its gradient is wrong (tried once).

        On GPUs bitsandbytes 0.50.2 multiplies the rows' int8 gradient by the columns' scales.
        """
        reason = super().why_not(linear, training=training)
        return reason or (failure(self, linear, training=True) if training else "")

    def refuses(self, linear: Any) -> str:
        """Refuse where the installed bitsandbytes fails on the layer's device (tried once)."""
        return failure(self, linear)

    def replaced(self, linear: Any, *, training: bool = False) -> Any:
        """Return a Linear8bitLt; with ``training`` its weight stays as wide as it is."""
        layers = importlib.import_module("qdoctor.backends.bnb_layers")
        params = importlib.import_module("bitsandbytes.nn").Int8Params
        with torch.device("meta"):
            made = layers.Linear8bitLt(
                linear.in_features,
                linear.out_features,
                bias=linear.bias is not None,
                has_fp16_weights=training,
                threshold=THRESHOLD,
            )
        weight = linear.weight.detach()
        if training:
            trains = linear.weight.requires_grad
            made.weight = params(weight.clone(), requires_grad=trains, has_fp16_weights=True)
        else:
            made.weight = layers.quantized(params, weight)
        made.bias = _bias(linear)
        return made.train(linear.training)

    def mark(self, model: Any) -> str:
        """Set ``is_loaded_in_8bit``, by which PEFT knows to merge adapters into such layers."""
        model.is_loaded_in_8bit = True
        return "is_loaded_in_8bit is set, as transformers sets it: PEFT asks for it"

    def transformers_config(self, skip: Sequence[str] = ()) -> Any:
        """Return the BitsAndBytesConfig for this layer; ``skip`` as for ``bits_and_bytes``."""
        return bits_and_bytes(self.name, skip, load_in_8bit=True, llm_int8_threshold=THRESHOLD)

    def weight_bytes(self, module: Any) -> int:
        """Count the int8 weight and its scales, which live beside the parameter."""
        holders = (module.weight, module.state)
        beside = [getattr(one, name, None) for one in holders for name in ("CB", "SCB")]
        return bytes_of([module.weight.data, *(one for one in beside if one is not None)])


def _bias(linear: Any) -> Any:
    if linear.bias is None:
        return None
    return torch.nn.Parameter(linear.bias.detach().clone(), linear.bias.requires_grad)
