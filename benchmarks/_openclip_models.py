"""OpenCLIP's models with int8 feed-forward layers, made in several ways. For openclip.py."""

# ruff: noqa: ANN401, PLC0415 - torch is untyped here, and imported on demand

from __future__ import annotations

import contextlib
import copy
import functools
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

INCLUDE = ["c_fc", "c_proj"]
"""What the guide replaces: the feed-forward layers of both towers."""


class Contender(NamedTuple):
    """A model to measure, and the context it runs in."""

    model: Any
    context: Callable[[], Any]


def makers(original: Any, backends: list[str], device: Any) -> dict[str, Callable[[], Contender]]:
    """Return for each contender what makes it from the original, which stays as it is."""
    import torch

    from qdoctor import nn

    plain, half = contextlib.nullcontext, functools.partial(torch.autocast, device.type)
    half = functools.partial(half, dtype=torch.float16 if device.type == "cuda" else torch.bfloat16)

    def guided(layer: Any) -> Callable[[], Contender]:
        return lambda: Contender(the_guide(original, layer, device), half)

    def quantized(name: str) -> Callable[[], Contender]:
        return lambda: Contender(by_backend(original, name, device), plain)

    return {
        "half": lambda: Contender(in_half(original, device), plain),
        "autocast": lambda: Contender(original, half),
        "guide, Global": guided(nn.SwitchBackLinear),
        "guide, Vectorwise": guided(nn.SwitchBackLinearVectorwise),
        **{f"half, {name}": quantized(name) for name in backends},  # one may refuse a graph: last
    }


def contenders(
    original: Any, backends: list[str], device: Any
) -> tuple[dict[str, Contender], dict[str, str]]:
    """Make every contender from the original on the device, and say which could not be made."""
    made, failed = {}, {}
    for label, make in makers(original, backends, device).items():
        try:
            made[label] = make()
        except Exception as error:  # noqa: BLE001, PERF203 - a backend that fails is a result
            failed[label.removeprefix("half, ")] = f"{type(error).__name__}: {error}"
    return made, failed


def the_guide(original: Any, layer: Any, device: Any) -> Any:
    """Make the model int8 as OpenCLIP's guide does."""
    from open_clip.utils import convert_int8_model_to_inference_mode, replace_linear

    with device:  # else it makes its layers on the CPU, which takes many seconds
        model = replace_linear(copy.deepcopy(original), layer, include_modules=INCLUDE)
    model = model.to(device).eval()
    convert_int8_model_to_inference_mode(model)
    return model


def in_half(original: Any, device: Any) -> Any:
    """Copy the model in the 16-bit type of the device."""
    import torch

    dtype = torch.float16 if device.type == "cuda" else torch.bfloat16
    return copy.deepcopy(original).to(device=device, dtype=dtype).eval()


def by_backend(original: Any, name: str, device: Any) -> Any:
    """Give the feed-forward layers of the model in half precision to a backend."""
    from qdoctor.backends import named
    from qdoctor.backends.replacing import quantize_

    model = in_half(original, device)
    done = quantize_(model, named(name), include=INCLUDE)
    if not done.replaced:
        raise RuntimeError(f"nothing was replaced: {done.skipped}")
    return model


def selected(
    original: Any, images: int, device: Any, budget: float
) -> tuple[dict[str, Any], Contender]:
    """Let select_backend choose for the image tower's products at that many images, and apply it.

    Only for speed: what it takes for latency is never slower than half on these products.
    ``budget``: its seconds for measuring, to which examining the machine comes.
    """
    import qdoctor

    rows = images * original.visual.positional_embedding.shape[0]
    layers = {
        (layer.in_features, layer.out_features)
        for name, layer in original.visual.named_modules()
        if name.rpartition(".")[2] in INCLUDE
    }
    shapes = sorted((rows, *layer) for layer in layers)
    where = "cuda:0" if device.type == "cuda" else device.type
    begun = time.monotonic()
    backend = qdoctor.select_backend("latency", shapes=shapes, device=where, budget=budget)
    took = time.monotonic() - begun
    model = in_half(original, device)
    replaced = 0
    if backend.name not in {None, "half"}:
        replaced = len(backend.quantize_(model, include=INCLUDE).replaced)
    told = {
        "name": backend.name, "shapes": shapes, "seconds": took, "replaced": replaced,
        "measured": backend.selection["measured"], "why": backend.explain(),
    }  # fmt: skip
    return told, Contender(model, contextlib.nullcontext)


def compiled(made: dict[str, Contender]) -> dict[str, Contender]:
    """Make twins of the contenders in half precision whose image tower is compiled."""
    import torch

    twins = {}
    for label, contender in made.items():
        if label.startswith("half"):
            model = copy.deepcopy(contender.model)
            model.visual = torch.compile(model.visual)
            twins[f"{label}, compiled"] = Contender(model, contender.context)
    return twins
