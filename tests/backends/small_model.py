"""A small transformer whose layers are replaced, and the backends that replace them anywhere."""

# ruff: noqa: ANN401 - torch is untyped here
# mypy: disable-error-code="misc, name-defined"

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

OURS = ("qdoctor-switchback", "torch-fp8")
NAMES = ("half", "bnb-int8", "bnb-nf4", "bnb-fp4", *OURS)
"""Backends that run on CPUs, too."""
FEED_FORWARD = ("blocks.0.c_fc", "blocks.0.c_proj", "blocks.1.c_fc", "blocks.1.c_proj")
"""The layers of ``Model`` that a backend replaces unless told otherwise."""


class Block(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ln = torch.nn.LayerNorm(64)
        self.attn = torch.nn.MultiheadAttention(64, 4, batch_first=True)
        self.c_fc = torch.nn.Linear(64, 256)
        self.c_proj = torch.nn.Linear(256, 64)

    def forward(self, x: Any) -> Any:
        h = self.ln(x)
        x = x + self.attn(h, h, h, need_weights=False)[0]
        return x + self.c_proj(torch.nn.functional.gelu(self.c_fc(x)))


class Model(torch.nn.Module):
    def __init__(self, *, tied: bool = False) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(300, 64)
        self.blocks = torch.nn.Sequential(Block(), Block())
        self.gate = torch.nn.Linear(64, 8)
        self.unembed = torch.nn.Linear(64, 300, bias=False)
        if tied:
            self.unembed.weight = self.embedding.weight

    def forward(self, tokens: Any) -> Any:
        return self.unembed(self.blocks(self.embedding(tokens)))
