"""Weights of a model that are in no linear layer, so that no backend replaces them."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - runs in the user's process, on demand

from qdoctor.backends.layers_of import CONV1D, class_of

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAST_SHARE = 0.05
"""Of a model's parameters: less makes no difference to its size or its time."""
NARROWEST = 32
WHOLE = "(the model)"
"""The name of the model itself, which has none of its own."""
_TOLD_ELSEWHERE = (
    *(torch.nn.Linear, torch.nn.Embedding, torch.nn.EmbeddingBag),
    torch.nn.modules.conv._ConvNd,  # noqa: SLF001 - torch's only name for all convolutions
)


def unreached(model: Any) -> dict[str, str]:
    """Say which matrices lie in no linear layer, by the module that holds them.

    Experts that are stacked into one tensor, MultiheadAttention's projection, recurrent layers:
    those that make up much of the model. Lookup tables and convolutions go without saying.
    """
    total = sum(one.numel() for one in model.parameters() if not _is_lazy(one))
    held: dict[str, list[tuple[str, int]]] = {}
    for module, name, size in _matrices(model):
        held.setdefault(name, []).append((module, size))
    told: dict[str, list[str]] = {}
    for name, holders in held.items():
        share = sum(size for _, size in holders) / total
        if share >= LEAST_SHARE:
            for module, _ in holders:
                told.setdefault(module, []).append(f"{name} ({share:.0%} of all parameters)")
    return {
        module: f"in no linear layer, so left as they are: {', '.join(texts)}"
        for module, texts in told.items()
    }


_is_lazy = torch.nn.parameter.is_lazy  # one whose sizes the first forward tells


def _matrices(model: Any) -> Iterator[tuple[str, str, int]]:
    for path, module in model.named_modules():
        if isinstance(module, _TOLD_ELSEWHERE) or class_of(module) == CONV1D:
            continue
        for name, tensor in module.named_parameters(recurse=False):
            if not _is_lazy(tensor) and tensor.dim() > 1 and min(tensor.shape[-2:]) >= NARROWEST:
                yield path or WHOLE, name, tensor.numel()
