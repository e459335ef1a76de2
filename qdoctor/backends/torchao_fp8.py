"""Backend ``torchao-fp8``: torchao's dynamic fp8, weights and activations, a scale a tensor."""

from __future__ import annotations

from qdoctor.backends.torchao_layers import TorchAo


def kind() -> TorchAo:
    """Return the backend. Raises BackendUnavailable without a torchao that has fp8."""
    return TorchAoFp8()


class TorchAoFp8(TorchAo):
    """e4m3 weights and activations, depth and columns in whole 16s: others torchao leaves alone."""

    name = "torchao-fp8"
    format = "fp8"
    units = (16, 16)
