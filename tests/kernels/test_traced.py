"""Asking torch what really multiplied."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

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


@pytest.mark.parametrize(
    "name",
    [
        *("aten::mm", "aten::_int_mm", "aten::_scaled_mm", "aten::_scaled_mm_v2"),
        *(
            "aten::_weight_int4pack_mm",
            "aten::_weight_int4pack_mm_for_cpu",
            "mslk::f8f8bf16_matmul",
        ),
        *("torchao::scaled_int8_mm", "torchao::float8_linear_cpu"),
    ],
)
def test_operators_that_multiply_matrices_are_known(load: Load, name: str) -> None:
    assert load("_traced").PRODUCT_CALL.search(name)


@pytest.mark.parametrize("name", ["aten::linear", "aten::matmul", "aten::mul", "aten::_to_copy"])
def test_wrappers_and_others_are_not(load: Load, name: str) -> None:
    assert not load("_traced").PRODUCT_CALL.search(name)


LINE = (
    "A=0X7F73CE000000 Adesc=[type=R_8I rows=1024 cols=4096 ld=1024] B=0X7F740CC00000 "
    "Bdesc=[type=R_8I rows=1024 cols=1024 ld=1024] C=0X7F73CE400000 Cdesc=[type=R_32I rows=4096 "
    "cols=1024 ld=4096] D=0X7F73CE400000 Ddesc=[type=R_32I rows=4096 cols=1024 ld=4096] "
    "computeDesc=[computeType=COMPUTE_32I scaleType=R_32I transa=OP_T] algo=[algoId=21 "
    "tile=MATMUL_TILE_128x64 stages=MATMUL_STAGES_128x3] workSpace=0X0 workSpaceSizeInBytes=0 "
    "beta=0 outOfPlace=0 stream=0X0"
)
"""What the cuBLASLt of CUDA 13.1 logged of torch._int_mm on an H100."""


def test_a_line_of_the_log_says_which_product_it_was(load: Load, pretended: Path) -> None:
    traced, api = load("_traced"), load("_cublaslt")
    assert traced.described(LINE) == "cuBLASLt R_8I x R_8I -> R_32I, COMPUTE_32I"
    library = api.Library(str(pretended / "site/nvidia/cu13/lib/libcublasLt.so.13"))
    words = "cuBLASLt R_8I x R_8I -> R_32I, COMPUTE_32I, IMMA, int32 sums"
    assert traced.described(LINE, library) == words
    assert not traced.FLOATING.search(words)
    strange = LINE.replace("R_8I", "R_3I")
    assert traced.described(strange, library) == "cuBLASLt R_3I x R_3I -> R_32I, COMPUTE_32I"
    assert traced.described("heuristicResults=[66]") == ""


@pytest.mark.parametrize("words", ["R_8I x R_8I -> R_32F, COMPUTE_32F", "HMMA, fp32 sums"])
def test_a_product_of_floats_is_known_as_one(load: Load, words: str) -> None:
    assert load("_traced").FLOATING.search(words)


def test_without_a_library_that_logs_the_profiler_is_asked(
    load: Load, monkeypatch: pytest.MonkeyPatch, pretended: Path
) -> None:
    traced = load("_traced")
    silent = str(pretended / "libcuda.so.1")  # a library without cublasLtLogger...
    for place in ("", silent):
        monkeypatch.setattr(traced, "_loaded_library", lambda place=place: place)
        monkeypatch.setattr(traced, "_by_profiler", lambda _torch, _action: (["gemm_s8"], ""))
        assert traced.product(None, "cuda:0", lambda: None) == ("cuda:0: gemm_s8", [])
    monkeypatch.setattr(traced, "_by_profiler", lambda _torch, _action: ([], "no CUPTI"))
    assert traced.product(None, "cuda:0", lambda: None) == ("cuda:0", ["no CUPTI"])
    assert traced.product(None, "cpu", lambda: None) == ("cpu", [])


def test_a_profiler_that_fails_is_no_proof_and_no_failure(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch: Any = pytest.importorskip("torch")
    traced = load("_traced")

    def broken(**_options: object) -> None:
        raise RuntimeError("CUPTI_ERROR_NOT_INITIALIZED")

    profiler = traced.importlib.import_module("torch.profiler")
    monkeypatch.setattr(profiler, "profile", broken)
    names, why = traced._by_profiler(torch, lambda: None)
    assert names == []
    assert why == "the profiler failed: RuntimeError: CUPTI_ERROR_NOT_INITIALIZED"


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_a_real_gpu_names_an_int8_product_and_a_half_one(load: Load) -> None:
    torch: Any = pytest.importorskip("torch")
    traced = load("_traced")
    a = torch.ones(32, 64, device="cuda", dtype=torch.int8)
    torch._int_mm(a, a.t())
    path, notes = traced.product(torch, "cuda:0", lambda: torch._int_mm(a, a.t()))
    assert (path != "cuda:0") or notes
    if "cuBLASLt" in path:
        assert "R_8I x R_8I -> R_32I, COMPUTE_32I" in path
        assert not traced.FLOATING.search(path)
    half = a.half()
    half @ half.t()
    names, why = traced._by_profiler(torch, lambda: half @ half.t())
    assert names or why.startswith("the profiler")
