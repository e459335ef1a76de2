"""torch's encoder layer has a fused path that takes the weights of its layers, not the layers."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - runs in the user's process, on demand

if TYPE_CHECKING:
    from qdoctor.backends.layers_of import Place


def leave_fast_path(model: Any, place: Place, notes: dict[str, str]) -> None:
    """Keep a torch.nn.TransformerEncoderLayer with a replaced layer from its fused path.

    It takes that path in inference, only while ``activation_relu_or_gelu`` is set, which nothing
    else reads; a TransformerEncoder asks its first layer's weights whether to nest its input, only
    while ``use_nested_tensor`` is set (torch/nn/modules/transformer.py). What is done is noted.
    """
    for (parent, _), name in zip(place.holders, place.names, strict=True):
        if isinstance(parent, torch.nn.TransformerEncoderLayer) and parent.activation_relu_or_gelu:
            parent.activation_relu_or_gelu = 0
            notes[name.rpartition(".")[0]] = (
                "torch's fused path for inference, which takes weights past the layers, is off"
            )
            _do_not_nest(model, parent)


def _do_not_nest(model: Any, layer: Any) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.TransformerEncoder) and layer in module.modules():
            module.use_nested_tensor = False
