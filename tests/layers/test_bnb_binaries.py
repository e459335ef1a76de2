"""Which native library a bitsandbytes loads, as its own code chooses it."""

from __future__ import annotations

from typing import Any

import pytest

from qdoctor.layers.bnb_binaries import chosen
from qdoctor.machine import complete
from qdoctor.matrix import shipped
from tests.layers.conftest import facts_with

V100 = [{"index": 0, "name": "Tesla V100-SXM2-16GB"}]


@pytest.mark.parametrize(
    ("version", "cuda", "more", "file"),
    [
        ("0.42.0", "12.1", {}, "libbitsandbytes_cuda121.so"),
        ("0.42.0", "12.1", {"gpus": V100}, "libbitsandbytes_cuda121_nocublaslt.so"),
        ("0.45.0", "12.1", {"gpus": V100}, "libbitsandbytes_cuda121.so"),
        ("0.50.2", "13.1", {}, "libbitsandbytes_cuda130.so"),
        ("0.50.2", "12.0", {}, "libbitsandbytes_cuda121.so"),
        ("0.45.0", "13.0", {}, None),
        ("0.36.0", "11.7", {}, None),
        ("0.36.0", "11.7", {"gpus": V100}, "libbitsandbytes_cuda117_nocublaslt.so"),
        ("0.36.0.post2", "11.7", {}, "libbitsandbytes_cuda117.so"),
        ("0.50.2", "10.2", {}, None),
        ("0.45.0", "12.1", {"env": {"BNB_CUDA_VERSION": "118"}}, "libbitsandbytes_cuda118.so"),
        ("0.45.0", "12.1", {"host": {"os": "windows"}}, "libbitsandbytes_cuda121.dll"),
    ],
)
def test_chooses_by_release(
    version: str, cuda: str, more: dict[str, Any], file: str | None
) -> None:
    facts = facts_with(packages={"bitsandbytes": version}, torch_cuda=cuda, **more)
    binary = chosen(complete(facts, shipped()), shipped()).binary
    assert (binary.file if binary else None) == file


def test_reads_the_installed_libraries_rather_than_the_released_ones() -> None:
    native = [{"package": "bitsandbytes", "file": "libbitsandbytes_cuda129.so", "sm": ["sm_80"]}]
    facts = facts_with(torch_cuda="12.9", native=native)
    choice = chosen(complete(facts, shipped()), shipped())
    assert choice.binary is not None
    assert choice.binary.file == "libbitsandbytes_cuda129.so"
    assert choice.answer.because[0].strength == "inspected"
