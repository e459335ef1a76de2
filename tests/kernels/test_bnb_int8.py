"""bitsandbytes' int8: the product is bit for bit and in int8, the layer near float64."""

# ruff: noqa: ANN401 - modules and tensors, without their types

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

Start = Callable[..., Any]
Load = Callable[[str], Any]


class Library:
    """The native function that an int8 product goes through; it only leaves its name."""

    def cigemmlt_32(self) -> None:
        """The row-major product of newer releases."""

    def cigemmlt_ampere_32(self) -> None:
        """The tiled product of older releases."""


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture
def examine(load: Load, torch: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """``examine(functional)``: the product's outcome as if the CPU were a GPU."""
    kernel = load("bnb_int8")
    extension = types.ModuleType("bitsandbytes.cextension")
    extension.lib = Library()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bitsandbytes.cextension", extension)

    def run(**functions: Any) -> dict[str, Any]:
        module = types.SimpleNamespace(functional=types.SimpleNamespace(**functions))
        fields = {"variant": "matmul", "device": "cpu", "evidence": []}
        torch.manual_seed(8)
        body = kernel._matmul(kernel.EXACT)
        outcome: dict[str, Any] = body(kernel._beside("_outcomes"), torch, module, fields)
        return outcome

    return run


def native() -> Any:
    return sys.modules["bitsandbytes.cextension"].lib


def exact(a: Any, b: Any) -> Any:
    native().cigemmlt_32()
    return (a.double() @ b.double().t()).int()


def test_exact_sums_through_cublaslt_pass(examine: Any) -> None:
    one = examine(int8_linear_matmul=exact)
    assert (one["outcome"], one["code"]) == ("passed", None)
    assert one["path_taken"] == "int8_linear_matmul: cigemmlt_32 x5; multiplied by aten::mm"
    assert one["numbers"]["differing"] == 0
    assert one["numbers"]["sums"] > 10_000


def test_a_product_in_float32_is_a_slow_path_and_never_exact(examine: Any) -> None:
    one = examine(int8_linear_matmul=lambda a, b: (a.float() @ b.float().t()).int())
    assert (one["outcome"], one["code"]) == ("wrong", "silent-slow-path")
    assert "5 of 5 products were not given to cuBLASLt" in one["detail"]
    assert one["numbers"]["differing"] > 1000
    assert one["path_taken"] == "int8_linear_matmul: no native function; multiplied by aten::mm"


def test_float32_behind_the_right_function_is_inexact(examine: Any) -> None:
    def rounded(a: Any, b: Any) -> Any:
        native().cigemmlt_32()
        return (a.float() @ b.float().t()).int()

    one = examine(int8_linear_matmul=rounded)
    assert (one["outcome"], one["code"]) == ("wrong", "inexact-product")


@pytest.mark.parametrize("answer", [None, "floats"])
def test_a_stub_and_another_type_are_no_product(examine: Any, torch: Any, answer: str) -> None:
    result = None if answer is None else torch.zeros(65, 130)
    one = examine(int8_linear_matmul=lambda _a, _b: result)
    assert (one["outcome"], one["code"]) == ("wrong", "silent-slow-path")
    assert one["detail"].startswith("the result is ")


def test_the_tiled_product_of_older_releases_is_called_as_they_want(
    examine: Any, torch: Any
) -> None:
    def transform(matrix: Any, order: str) -> tuple[Any, tuple[Any, str]]:
        return matrix, (matrix.shape, order)

    def igemmlt(a: Any, b: Any, left: Any, right: Any) -> tuple[Any, Any]:
        assert (left[1], right[1]) == ("col32", "col_ampere")
        native().cigemmlt_ampere_32()
        plain = (a.double() @ b.double().t()).int()
        tiles = [torch.nn.functional.pad(one, (0, 32 - one.shape[1])) for one in plain.split(32, 1)]
        return torch.cat([tile.reshape(-1) for tile in tiles]), (plain.shape, "col32")

    one = examine(transform=transform, igemmlt=igemmlt, get_special_format_str=lambda: "col_ampere")
    assert (one["outcome"], one["detail"]) == (
        "passed",
        f"{one['numbers']['sums']:.0f} sums past 2**24, bit for bit",
    )
    assert (
        one["path_taken"] == "igemmlt (col_ampere): cigemmlt_ampere_32 x5; multiplied by aten::mm"
    )


def test_a_release_without_a_product_is_skipped(load: Load) -> None:
    kernel = load("bnb_int8")
    made = kernel._beside("_outcomes")
    with pytest.raises(made.Skipped) as raised:
        kernel._product(made, types.SimpleNamespace(functional=types.SimpleNamespace()))
    assert raised.value.code == "not-shipped"


def test_fewer_calls_than_products_are_told(load: Load) -> None:
    past = load("bnb_int8").past_cublaslt
    assert past({"cigemmlt_32": 3, "cigemmlt_ampere_32": 1}, 4) is None
    assert past({"cigemmlt_32": 3, "cgemm_4bit_bf16": 4}, 4).startswith("1 of 4 products")


def test_a_floating_point_product_is_told_from_an_integer_one(load: Load) -> None:
    kernel = load("bnb_int8")
    assert kernel.in_floats("x1; multiplied by cuBLASLt R_32F x R_32F -> R_32F, COMPUTE_32F")
    assert not kernel.in_floats("x1; multiplied by cuBLASLt R_8I x R_8I -> R_32I, COMPUTE_32I")
    assert not kernel.in_floats("Linear8bitLt: cdequant_mm_int32_fp16 x4, cigemmlt_32 x4")


def test_the_layer_runs_on_this_cpu(start: Start) -> None:
    pytest.importorskip("bitsandbytes")
    answer = start("bnb_int8", env={"CUDA_VISIBLE_DEVICES": ""})
    for variant in ("linear", "linear-outliers"):
        one = answer.one(variant, "cpu")
        assert (one["outcome"], one["detail"][:15]) == ("passed", "relative error ")
        assert 0.005 < one["numbers"]["rel_error"] <= one["numbers"]["tolerance"]
        assert one["numbers"]["milliseconds"] > 0
        assert "multiplied by bitsandbytes::int8" in one["path_taken"]
    for variant in ("matmul", "matmul-odd-k"):
        assert answer.one(variant)["code"] == "no-gpu"


@pytest.mark.parametrize(("threshold", "outcome"), [(6.0, "passed"), (0.0, "wrong")])
def test_outliers_without_their_decomposition_are_noticed(
    load: Load, torch: Any, monkeypatch: pytest.MonkeyPatch, threshold: float, outcome: str
) -> None:
    bitsandbytes: Any = pytest.importorskip("bitsandbytes")
    kernel = load("bnb_int8")
    made = kernel._layer
    monkeypatch.setattr(
        kernel, "_layer", lambda t, m, values, _asked, where: made(t, m, values, threshold, where)
    )
    torch.manual_seed(8)
    fields = {"variant": "linear-outliers", "device": "cpu"}
    with torch.no_grad():
        one = kernel._linear(6.0)(kernel._beside("_outcomes"), torch, bitsandbytes, fields)
    assert one["outcome"] == outcome
    assert (one["numbers"]["rel_error"] > 0.03) == (outcome == "wrong")


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_real_gpu_it_keeps_to_its_memory(start: Start) -> None:
    pytest.importorskip("bitsandbytes")
    answer = start("bnb_int8")
    for variant in ("linear", "linear-outliers"):
        one = answer.one(variant)
        assert (one["device"], one["outcome"]) == ("cuda:0", "passed")
        assert 0 < one["numbers"]["gpu_mib"] <= 64
    assert "cigemmlt" in answer.one("matmul")["path_taken"]
