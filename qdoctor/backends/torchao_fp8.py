"""Backend ``torchao-fp8``: torchao's dynamic fp8, weights and activations, scaled by row."""

from __future__ import annotations

import torch  # noqa: TID253 - runs in the user's process, on demand

from qdoctor.backends.torchao_layers import TorchAo


def kind() -> TorchAo:
    """Return the backend. Raises BackendUnavailable without a torchao that has fp8."""
    return TorchAoFp8()


class TorchAoFp8(TorchAo):
    """e4m3 weights and activations; torchao scales rows of bfloat16 only, in whole 16s."""

    name = "torchao-fp8"
    format = "fp8"
    units = (16, 16)
    dtypes = (torch.bfloat16,)
