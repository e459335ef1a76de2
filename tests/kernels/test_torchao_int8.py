"""torchao's int8 layer: releases that do as they should, and ones that fall back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

Start = Callable[..., Any]

QUANTIZER = """
import torch

class Int8Linear(torch.nn.Module):
    def __init__(self, old):
        super().__init__()
        self.q, self.scale = by_rows(old.weight)
        self.bias = old.bias

    def forward(self, x):
        q, scale = by_rows(x)
        return ({product} * scale.float() * self.scale.float().t() + self.bias).to(x.dtype)

def by_rows(x):
    scale = x.abs().amax(1, keepdim=True).clamp(min=1e-9).float() / 127
    return (x.float() / scale).round().to(torch.int8), scale

def swap(model):
    for name, child in model.named_children():
        if isinstance(child, torch.nn.Linear):
            setattr(model, name, Int8Linear(child))
"""
INT8 = "torch._int_mm(q, self.q.t())"
APIS = {
    "Int8DynamicActivationInt8WeightConfig": (
        "class Int8DynamicActivationInt8WeightConfig: pass\n"
        "def quantize_(model, config):\n"
        "    assert isinstance(config, Int8DynamicActivationInt8WeightConfig)\n    swap(model)\n"
    ),
    "int8_dynamic_activation_int8_weight": (
        "def int8_dynamic_activation_int8_weight(): return swap\n"
        "def quantize_(model, how): how(model)\n"
    ),
    "change_linear_weights_to_int8_dqtensors": (
        "def change_linear_weights_to_int8_dqtensors(model): swap(model)\n"
    ),
    "apply_dynamic_quant": "def apply_dynamic_quant(model): swap(model)\n",
}
CONFIG = "Int8DynamicActivationInt8WeightConfig"


@pytest.fixture
def release(tmp_path: Path) -> Callable[..., Path]:
    """``release(api, product)`` -> a folder with a torchao of that API, and that product."""

    def make(api: str = CONFIG, product: str = INT8) -> Path:
        folder = tmp_path / "torchao"
        folder.mkdir()
        (folder / "__init__.py").write_text("__version__ = '0.0.7'\n")
        text = QUANTIZER.replace("{product}", product) + APIS.get(api, "")
        (folder / "quantization.py").write_text(text)
        return tmp_path

    return make


def ask(start: Start, *paths: Path) -> Any:  # noqa: ANN401 - the Answer of conftest.py
    pytest.importorskip("torch")
    return start("torchao_int8", env={"CUDA_VISIBLE_DEVICES": ""}, paths=paths)


@pytest.mark.parametrize("api", sorted(APIS))
def test_each_api_that_it_has_had_is_found_by_looking(
    start: Start, release: Callable[..., Path], api: str
) -> None:
    answer = ask(start, release(api))
    for variant in ("plain", "awkward"):
        one = answer.one(variant)
        assert (one["outcome"], one["device"]) == ("passed", "cpu"), one
        assert one["path_taken"] == "aten::_int_mm on cpu"
        assert api in one["evidence"][1]
        assert 0.005 < one["numbers"]["max_rel_error"] <= one["numbers"]["tolerance"]
    assert answer.one("plain")["numbers"]["milliseconds"] > 0


def test_a_product_that_falls_back_without_a_word_is_a_silent_slow_path(
    start: Start, release: Callable[..., Path]
) -> None:
    falls_back = "(torch._int_mm(q, self.q.t()) if len(q) > 16 else q.float() @ self.q.float().t())"
    answer = ask(start, release(product=falls_back))
    assert answer.one("plain")["outcome"] == "passed"
    one = answer.one("awkward")
    assert (one["outcome"], one["code"]) == ("wrong", "silent-slow-path")
    assert one["detail"].endswith("not by an int8 product: 1 x 1280 x 512 by aten::mm")
    assert one["path_taken"] == "aten::mm and aten::_int_mm on cpu"


def test_numbers_that_are_off_are_wrong(start: Start, release: Callable[..., Path]) -> None:
    one = ask(start, release(product=f"1.02 * {INT8}")).one("plain")
    assert (one["outcome"], one["code"]) == ("wrong", "wrong-value")


def test_a_release_without_the_recipe_is_skipped(
    start: Start, release: Callable[..., Path]
) -> None:
    answer = ask(start, release("none"))
    assert {one["code"] for one in answer.outcomes} == {"not-shipped"}
    assert "torchao 0.0.7 has no int8 recipe" in answer.outcomes[0]["detail"]


def test_one_that_does_not_import_with_this_torch_has_failed_with_its_words(
    start: Start, release: Callable[..., Path]
) -> None:
    folder = release()
    (folder / "torchao" / "quantization.py").write_text("from torch import no_such_name_at_all\n")
    answer = ask(start, folder)
    assert {one["code"] for one in answer.outcomes} == {"import-failed"}
    assert "no_such_name_at_all" in answer.outcomes[0]["detail"]


def test_without_torchao_it_is_skipped(start: Start, tmp_path: Path) -> None:
    (tmp_path / "torchao.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'torchao'\", name='torchao')\n"
    )
    answer = ask(start, tmp_path)
    assert {one["code"] for one in answer.outcomes} == {"not-installed"}


def test_the_installed_one_runs_in_int8(start: Start) -> None:
    pytest.importorskip("torchao")
    one = ask(start).one("plain")
    assert one["outcome"] == "passed"
    assert one["path_taken"] == "aten::_int_mm on cpu"


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_real_gpu_plain_sizes_run_in_int8(start: Start) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("torchao")
    answer = start("torchao_int8")
    one = answer.one("plain")
    assert (one["outcome"], one["device"]) == ("passed", "cuda:0")
    assert one["numbers"]["gpu_mib"] <= 64
    assert answer.one("awkward")["outcome"] in {"passed", "wrong"}
