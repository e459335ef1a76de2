"""The devices on which the layers are tested: the CPU always, a GPU where there is one."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Any:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    torch.manual_seed(11)
    return torch.device(request.param)
