"""Backend ``torchao-int4``: torchao's int4 weights, a scale and a zero point for each 128."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

from typing import Any

import torch  # noqa: TID253 - runs in the user's process, on demand

from qdoctor.backends.torchao_layers import TorchAo

GROUPS = (128, 64, 32)
"""torchao's own default first; smaller ones for depths that are no whole number of those."""


def kind() -> TorchAo:
    """Return the backend. Raises BackendUnavailable without a torchao that has int4 weights."""
    return TorchAoInt4()


class TorchAoInt4(TorchAo):
    """int4 weights in bfloat16 products, by torch's own int4 product.

    On a GPU depths are filled up to whole 1024s, which small layers feel in their bytes.
    """

    name = "torchao-int4"
    format = "int4"
    units = (32, 1)
    on_cpu = (32, 16)
    dtypes = (torch.bfloat16,)

    def group(self, linear: Any) -> int:
        """Take the largest group of which the layer's depth is a whole number."""
        return next((size for size in GROUPS if linear.in_features % size == 0), GROUPS[-1])
