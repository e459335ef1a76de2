"""Asking torch what really multiplied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Load = Callable[[str], Any]


def test_operators_are_told_apart_by_the_action_that_called_them(load: Load) -> None:
    torch: Any = pytest.importorskip("torch")
    a, b = torch.ones(3, 8), torch.ones(8, 5)
    layer = torch.nn.Linear(8, 5)
    found = load("_traced").called(
        torch,
        {
            "half": lambda: a.bfloat16() @ b.bfloat16(),
            "layer": lambda: layer(a),
            "int8": lambda: torch._int_mm(a.to(torch.int8), b.to(torch.int8)),
            "none": lambda: a + 1,
            "two": lambda: (a @ b, torch.bmm(a[None], b[None])),
        },
    )
    assert found == {
        "half": ["aten::mm"],
        "layer": ["aten::addmm"],
        "int8": ["aten::_int_mm"],
        "none": [],
        "two": ["aten::mm", "aten::bmm"],
    }


def test_a_profiler_that_fails_is_no_proof_and_no_failure(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch: Any = pytest.importorskip("torch")
    traced = load("_traced")

    def broken(**_options: object) -> None:
        raise RuntimeError("CUPTI_ERROR_NOT_INITIALIZED")

    profiler = traced.importlib.import_module("torch.profiler")
    monkeypatch.setattr(profiler, "profile", broken)
    names, why = traced.launched(torch, lambda: None)
    assert names == []
    assert why == "the profiler failed: RuntimeError: CUPTI_ERROR_NOT_INITIALIZED"


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_a_real_gpu_names_the_kernel_of_a_product(load: Load) -> None:
    torch: Any = pytest.importorskip("torch")
    a = torch.ones(256, 256, device="cuda", dtype=torch.float16)
    a @ a
    names, why = load("_traced").launched(torch, lambda: a @ a)
    assert names or why.startswith("the profiler")
