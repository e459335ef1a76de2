"""Backend ``torchao-mxfp4``: torchao's MXFP4 (OCP MX 1.0) of both operands, a prototype."""

from __future__ import annotations

import torch  # noqa: TID253 - runs in the user's process, on demand

from qdoctor.backends.torchao_layers import TorchAo


def kind() -> TorchAo:
    """Return the backend. Raises BackendUnavailable without a torchao that has MXFP4."""
    return TorchAoMxfp4()


class TorchAoMxfp4(TorchAo):
    """fp4 (e2m1) operands with a power of two for each 32, on GPUs that multiply them.

    torchao's emulation, which dequantizes and multiplies in half precision, is not taken: it has
    the error without the speed.
    """

    name = "torchao-mxfp4"
    format = "mxfp4"
    units = (32, 16)
    dtypes = (torch.bfloat16,)
