"""Packages of which others import names, and what of their files is read for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

OTHERS = {
    "auto-gptq": "auto_gptq",
    "autoawq": "awq",
    "bitsandbytes": "bitsandbytes",
    "causal-conv1d": "causal_conv1d",
    "compressed-tensors": "compressed_tensors",
    "datasets": "datasets",
    "deepspeed": "deepspeed",
    "flash-attn": "flash_attn",
    "gptqmodel": "gptqmodel",
    "kernels": "kernels",
    "liger-kernel": "liger_kernel",
    "llmcompressor": "llmcompressor",
    "mamba-ssm": "mamba_ssm",
    "open-clip-torch": "open_clip",
    "optimum": "optimum",
    "sentence-transformers": "sentence_transformers",
    "timm": "timm",
    "tokenizers": "tokenizers",
    "torchao": "torchao",
    "unsloth": "unsloth",
    "unsloth-zoo": "unsloth_zoo",
    "vllm": "vllm",
    "xformers": "xformers",
}
"""What pip calls them -> their folders: public names only, and modules that do not lie deep."""
_BY_NAME_ONLY = {"vllm", "deepspeed", "datasets", "timm"}
"""Packages of thousands of names: of their deepest modules only that they are there is kept."""
_DEEP = 3
"""Parts of a module's name, at most, of those packages."""


def read_of(folder: str, texts: Mapping[str, str]) -> dict[str, str]:
    """Leave of a package's files those that others import from; of some only their names."""
    return {
        name: text if _depth(name) < _DEEP or folder not in _BY_NAME_ONLY else ""
        for name, text in texts.items()
        if _is_near(name)
    }


def _is_near(name: str) -> bool:
    """Say whether others import from a module: it lies near, and no part of it is private."""
    private = any(part.startswith("_") and part != "__init__.py" for part in name.split("/"))
    return _depth(name) <= _DEEP and not private


def _depth(name: str) -> int:
    """Return how many parts a module's name has."""
    return len(name.removesuffix("/__init__.py").split("/"))
