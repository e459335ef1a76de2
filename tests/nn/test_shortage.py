"""A full or busy GPU is no answer to what it can multiply, and is not remembered as one."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from qdoctor.nn import products  # noqa: E402 - torch first


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in the manual",
        "CUDA error: CUDA-capable device(s) is/are busy or unavailable",
    ],
)
def test_a_shortage_is_raised_and_asked_again(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def starved(device: Any) -> None:
        tries.append(str(device))
        raise RuntimeError(text)

    plain = products.WAYS[-1]
    way = products.Way("starved", starved, plain.quantize, plain.multiply)
    monkeypatch.setattr(products, "_proved", {})
    monkeypatch.setattr(products, "WAYS", (way,))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="CUDA error"):
            products.way_on(torch.device("cpu"))
    assert tries == ["cpu", "cpu"]
