"""Which 16-bit format a device computes in, and what autocast asks for. In torch's own words."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - runs in the user's process, on demand

if TYPE_CHECKING:
    from collections.abc import Callable

HALVES = (torch.float16, torch.bfloat16)


def half_dtype(device: Any) -> Any:
    """Return bfloat16 where the device (a torch.device) computes in it, else float16."""
    if device.type != "cuda":
        return torch.bfloat16
    with torch.cuda.device(device):
        try:
            real = torch.cuda.is_bf16_supported(including_emulation=False)
        except TypeError:  # releases that do not emulate do not know the argument
            real = torch.cuda.is_bf16_supported()
    return torch.bfloat16 if real else torch.float16


if hasattr(torch, "get_autocast_dtype"):

    def autocast_dtype(kind: str) -> Any:
        """Return what autocast casts to on this kind of device ("cuda"), None where it is off."""
        on = kind != "meta" and torch.is_autocast_enabled(kind)
        return torch.get_autocast_dtype(kind) if on else None

else:

    def autocast_dtype(kind: str) -> Any:
        """Do so where earlier releases ask for each kind by another name."""
        if kind == "cpu":
            return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
        return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None


def autocast(x: Any) -> Any:
    """Cast x as autocast casts the input of a linear layer: never from float64."""
    dtype = autocast_dtype("cuda" if x.is_cuda else x.device.type)  # a device's name costs more
    return x if dtype is None or x.dtype == torch.float64 else x.to(dtype)


def cast_input(layer: Any, x: Any) -> Any:
    """Cast x as ``autocast`` does. Raises TypeError, RuntimeError for what is no linear input."""
    if not x.is_floating_point():  # cast back to it, the output would be mostly zeros
        raise TypeError(f"{layer._get_name()} takes floating-point input, not {x.dtype}")  # noqa: SLF001 - what torch's own repr calls it
    x = autocast(x)
    if x.dim() == 0 or x.shape[-1] != layer.in_features:
        raise RuntimeError(
            f"{layer._get_name()} takes (..., {layer.in_features}), not {tuple(x.shape)}"  # noqa: SLF001 - likewise
        )
    return x


def outside_autocast(x: Any) -> Any:
    """Return a context in which autocast leaves alone what is computed with x, cast already."""
    kind = x.device.type
    if autocast_dtype(kind) is None:
        return contextlib.nullcontext()
    return torch.autocast(kind, enabled=False)


def follow_cast(layer: Any, fn: Callable[[Any], Any]) -> None:
    """Let the dtype that a layer's weight had go along when its model is cast or moved by fn."""
    had = vars(layer).get("int8_original_dtype")
    if had is not None:
        layer.int8_original_dtype = fn(torch.empty(0, dtype=had)).dtype
