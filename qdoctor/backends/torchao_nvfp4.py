"""Backend ``torchao-nvfp4``: torchao's NVFP4 of both operands, a prototype."""

from __future__ import annotations

import torch  # noqa: TID253 - runs in the user's process, on demand

from qdoctor.backends.torchao_layers import TorchAo


def kind() -> TorchAo:
    """Return the backend. Raises BackendUnavailable without a torchao that has NVFP4."""
    return TorchAoNvfp4()


class TorchAoNvfp4(TorchAo):
    """fp4 (e2m1) operands with an e4m3 scale for each 16, on GPUs that multiply them."""

    name = "torchao-nvfp4"
    format = "nvfp4"
    units = (16, 16)
    dtypes = (torch.bfloat16,)
