"""What the tests of our own CUDA sources share: a GPU's bounds, and tensors by their addresses."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

BLOCK_BYTES = 227 * 1024
"""Shared memory that a block of SM 9.0 may take (CUDA C++ Programming Guide, compute
capabilities)."""


def tensor(at: int, *shape: int, stride: int = 0) -> Any:
    """A tensor as far as a launch asks it; stride: numbers from a row to the next one."""
    strides = (stride or shape[-1], 1)
    return SimpleNamespace(
        shape=shape, data_ptr=lambda: at, stride=lambda axis: strides[axis],
        dtype="torch.bfloat16", device="cuda:0",
    )  # fmt: skip
