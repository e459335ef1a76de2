"""torchao's layers of other formats than int8: releases that do as they should, and others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

Start = Callable[..., Any]
Release = Callable[..., "Path"]

QUANTIZER = """
import torch

def quantize_(model, config):
    for name, child in model.named_children():
        if isinstance(child, torch.nn.Linear):
            setattr(model, name, config.layer(child))
"""
INT4 = """
import torch

class Int4Linear(torch.nn.Module):
    def __init__(self, old, group):
        super().__init__()
        self.bias, self.group = 0 if old.bias is None else old.bias, group
        rows, depth = old.weight.shape
        blocks = old.weight.float().view(rows, -1, group)
        low, high = blocks.amin(2, keepdim=True), blocks.amax(2, keepdim=True)
        step = (high - low) / 15
        q = ((blocks - low) / step).round().clamp(0, 15).to(torch.int32).view(rows, depth)
        pack = torch.ops.aten._convert_weight_to_int4pack_for_cpu
        self.packed = pack(q, 1)
        pair = torch.cat([step, low + 8 * step], 2).transpose(0, 1).contiguous()
        self.scales = pair.to(old.weight.dtype)

    def forward(self, x):
        product = torch.ops.aten._weight_int4pack_mm_for_cpu
        return {result}

class PrototypeInt4WeightOnlyConfig:
    def __init__(self, group_size):
        self.group = group_size

    def layer(self, old):
        return {layer}
"""
RESULT = "product(x, self.packed, self.group, self.scales) + self.bias"
LAYER = "Int4Linear(old, self.group)"
FP8 = """
import torch

library = torch.library.Library("torchao", "FRAGMENT")
library.define("float8_linear_prepack_cpu(Tensor w) -> Tensor")
library.define("float8_linear_cpu(Tensor x, Tensor w, Tensor b) -> Tensor")
def by_rows(x):
    scale = x.abs().amax(1, keepdim=True).float() / 448
    return (x.float() / scale).to(torch.float8_e4m3fn).float() * scale
def linear(x, w, b):
    x_kept, w_kept = by_rows(x), by_rows(w)  # a convolution: no operator that multiplies matrices
    product = torch.nn.functional.conv1d(x_kept.unsqueeze(2), w_kept.unsqueeze(2)).squeeze(2)
    return (product + b).to(x.dtype)
if {native}:
    library.impl("float8_linear_prepack_cpu", lambda w: w, "CPU")
library.impl("float8_linear_cpu", linear, "CPU")

class Fp8Linear(torch.nn.Module):
    def __init__(self, old):
        super().__init__()
        self.old = old

    def forward(self, x):
        bias = self.old.bias
        bias = torch.zeros(self.old.weight.shape[0]) if bias is None else bias
        return torch.ops.torchao.float8_linear_cpu(x, self.old.weight, bias)

class Float8DynamicActivationFloat8WeightOpaqueTensorConfig:
    def layer(self, old):
        return Fp8Linear(old)
"""


def write(folder: Path, module: str, text: str) -> None:
    """Add text to a module of the release, making the packages above it."""
    place = folder / module
    place.mkdir(parents=True, exist_ok=True)
    for package in (place, *place.parents):
        if package == folder.parent:
            break
        (package / "__init__.py").touch()
    with (place / "__init__.py").open("a") as file:
        file.write(text)


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """``release(...)`` -> a folder with a torchao that has int4 weights for the CPU."""

    def make(*, result: str = RESULT, layer: str | None = LAYER) -> Path:
        folder = tmp_path / "torchao"
        write(folder, ".", "__version__ = '0.0.7'\n")
        write(folder, "quantization", QUANTIZER)
        if layer is not None:
            text = INT4.replace("{result}", result).replace("{layer}", layer)
            write(folder, "prototype/quantization/int4", text)
        return tmp_path

    return make


def ask(start: Start, *paths: Path) -> Any:  # noqa: ANN401 - the Answer of conftest.py
    pytest.importorskip("torch")
    return start("torchao_formats", env={"CUDA_VISIBLE_DEVICES": ""}, paths=paths)


def test_a_layer_of_int4_weights_passes_by_torchs_own_product(
    start: Start, release: Release
) -> None:
    answer = ask(start, release())
    one = answer.one("int4")
    assert (one["outcome"], one["device"]) == ("passed", "cpu"), one
    assert one["path_taken"] == "aten::_weight_int4pack_mm_for_cpu on cpu"
    words = "torchao 0.0.7: quantize_ with PrototypeInt4WeightOnlyConfig(group_size=128)"
    assert one["evidence"][1] == words
    assert 0.001 < one["numbers"]["max_rel_error"] <= one["numbers"]["tolerance"]
    assert 0.08 < one["numbers"]["rel_error"] <= 0.115
    assert "lost by quantizing" in one["detail"]
    assert one["numbers"]["milliseconds"] > 0
    codes = {one["variant"]: one["code"] for one in answer.outcomes if one["variant"] != "int4"}
    assert codes == dict.fromkeys(("fp8", "mxfp4", "nvfp4"), "not-shipped")
    assert answer.one("mxfp4")["detail"] == "torchao 0.0.7 has no mxfp4 recipe for the CPU"


def test_a_layer_that_is_left_alone_is_a_silent_slow_path(start: Start, release: Release) -> None:
    one = ask(start, release(layer="old")).one("int4")
    assert (one["outcome"], one["code"]) == ("wrong", "silent-slow-path")
    assert "not by an int4 weight's product: 256 x 1024 x 768 by aten::addmm" in one["detail"]
    assert one["numbers"]["rel_error"] < 0.01


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (f"1.1 * ({RESULT})", "a weight that is off loses too much"),
        (f"({RESULT}) - self.bias", "a product without the bias is not that of its operands"),
    ],
)
def test_numbers_that_are_off_are_wrong(
    start: Start, release: Release, result: str, why: str
) -> None:
    one = ask(start, release(result=result)).one("int4")
    assert (one["outcome"], one["code"]) == ("wrong", "wrong-value"), why


@pytest.mark.parametrize("native", ["True", "False"])
def test_fp8_on_a_cpu_needs_torchaos_native_code(
    start: Start, release: Release, native: str
) -> None:
    folder = release(layer=None)
    text = FP8.replace("{native}", native)
    write(folder / "torchao", "prototype/float8_opaque_tensor", text)
    one = ask(start, folder).one("fp8")
    if native == "True":
        assert (one["outcome"], one["path_taken"]) == (
            "passed",
            "torchao::float8_linear_cpu on cpu",
        )
        assert 0.03 < one["numbers"]["rel_error"] <= 0.045
    else:
        assert (one["outcome"], one["code"]) == ("skipped", "not-shipped")


def test_one_that_does_not_import_with_this_torch_has_failed_with_its_words(
    start: Start, release: Release
) -> None:
    folder = release()
    write(folder / "torchao", "quantization", "from torch import no_such_name_at_all\n")
    one = ask(start, folder).one("int4")
    assert one["code"] == "import-failed"
    assert "no_such_name_at_all" in one["detail"]


def test_without_torchao_it_is_skipped(start: Start, tmp_path: Path) -> None:
    (tmp_path / "torchao.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'torchao'\", name='torchao')\n"
    )
    answer = ask(start, tmp_path)
    assert {one["code"] for one in answer.outcomes} == {"not-installed"}


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_real_gpu_each_format_takes_its_own_product_or_none(start: Start) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("torchao")
    answer = start("torchao_formats")
    products = {"fp8": "aten::_scaled_mm", "int4": "aten::_weight_int4pack_mm"}
    for one in answer.outcomes:
        assert one["numbers"].get("gpu_mib", 0) <= 96
        if one["outcome"] == "passed" and one["variant"] in products:
            assert one["path_taken"] == f"{products[one['variant']]} on cuda:0"
        assert one["outcome"] in {"passed", "failed", "skipped"}, one
