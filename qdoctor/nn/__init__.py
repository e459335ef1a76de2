"""Layers that qdoctor offers itself. Importing this imports torch; ``import qdoctor`` does not.

SwitchBackLinear is a drop-in for the layer of that name that bitsandbytes no longer ships;
``qdoctor.nn.compat.install()`` puts it where unchanged code looks for it.
"""

from __future__ import annotations

from qdoctor.nn.products import NoInt8ProductError, has_int8_product
from qdoctor.nn.switchback import (
    SwitchBackLinear,
    SwitchBackLinearGlobal,
    SwitchBackLinearGlobalMemEfficient,
    SwitchBackLinearVectorwise,
)

__all__ = [
    "NoInt8ProductError",
    "SwitchBackLinear",
    "SwitchBackLinearGlobal",
    "SwitchBackLinearGlobalMemEfficient",
    "SwitchBackLinearVectorwise",
    "has_int8_product",
]
