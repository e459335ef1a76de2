"""Backend ``bnb-switchback``: the SwitchBackLinear that older releases of bitsandbytes shipped."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import importlib
from typing import Any

import torch  # noqa: TID253 - runs in the user's process, on demand

from qdoctor.backends.kind import BackendUnavailable, Kind, library
from qdoctor.backends.trial import failure

MODULE = "bitsandbytes.nn.triton_based_modules"
INSTEAD = "`qdoctor-switchback` is a drop-in for it that runs on current releases"


def kind() -> Kind:
    """Return the backend. Raises BackendUnavailable where bitsandbytes has no such layer."""
    library("bitsandbytes", backend="bnb-switchback", install="python -m pip install bitsandbytes")
    return BnbSwitchback(_layer())


def _layer() -> Any:
    """Return bitsandbytes' own class; what qdoctor.nn.compat put in its place does not count."""
    bitsandbytes = importlib.import_module("bitsandbytes")
    release = getattr(bitsandbytes, "__version__", "?")
    try:
        found = getattr(importlib.import_module(MODULE), "SwitchBackLinear", None)
    except Exception as error:
        text = f"bnb-switchback: {MODULE} of bitsandbytes {release} cannot be imported"
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        if isinstance(error, ModuleNotFoundError) and error.name == MODULE:
            text = f"bnb-switchback: bitsandbytes {release} has no SwitchBackLinear"
            first = "later releases removed it"
        raise BackendUnavailable(f"{text} ({first}); {INSTEAD}") from error
    if found is None or found.__module__.startswith("qdoctor."):
        raise BackendUnavailable(
            f"bnb-switchback: bitsandbytes {release} has no SwitchBackLinear of its own"
            + (" (qdoctor.nn.compat put qdoctor's in its place)" if found else "")
            + f"; {INSTEAD}"
        )
    return found


class BnbSwitchback(Kind):
    """bitsandbytes' Triton layer, the weight quantized by row; trainable (arXiv:2304.13013)."""

    name = "bnb-switchback"
    trainable = True

    def __init__(self, layer: Any) -> None:
        """Take the layer's class."""
        self.layer = layer

    def refuses(self, linear: Any) -> str:
        """Refuse off the GPU, and where its kernels fail there (tried once)."""
        if linear.weight.device.type != "cuda":
            return (
                f"bnb-switchback runs on CUDA GPUs only and the layer is on "
                f"{linear.weight.device}: move the model first; {INSTEAD}"
            )
        return failure(self, linear)

    def replaced(self, linear: Any, *, training: bool = False) -> Any:
        """Return bitsandbytes' layer: prepared, or with ``training`` one that keeps its weight.

        A prepared one is in eval mode, and stays usable only there.
        """
        weight, bias = linear.weight, linear.bias
        made = self.layer(
            linear.in_features,
            linear.out_features,
            bias=bias is not None,
            device=weight.device,
            dtype=weight.dtype,
            vector_wise_quantization=True,
        )
        with torch.no_grad():
            made.weight.copy_(weight)
            if bias is not None:
                made.bias.copy_(bias)
        if training:
            return made.train(linear.training)
        made.prepare_for_eval()
        return made.eval()
