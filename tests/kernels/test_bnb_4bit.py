"""bitsandbytes' 4-bit weights: levels as published, products near float64."""

# ruff: noqa: ANN401 - modules and tensors, without their types

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest

Start = Callable[..., Any]
Load = Callable[[str], Any]

NF4 = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
)
"""QLoRA (arXiv 2305.14314), appendix E."""


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture
def kernel(load: Load) -> Any:
    return load("bnb_4bit")


def test_the_quantiles_make_the_levels_that_the_paper_prints(kernel: Any) -> None:
    assert kernel.codebook("nf4") == pytest.approx(NF4, abs=1e-6)


def test_fp4_is_symmetric_and_has_two_zeros(kernel: Any) -> None:
    levels = kernel.codebook("fp4")
    assert levels == [-one for one in reversed(levels)]
    assert levels[7:10] == [0.0, 0.0, pytest.approx(1 / 192)]
    assert levels[-3:] == [pytest.approx(0.5), pytest.approx(2 / 3), 1.0]


def test_the_reference_rounds_to_the_nearest_level_of_each_block(kernel: Any, torch: Any) -> None:
    weight = torch.zeros(2, 40)
    weight[0, :3] = torch.tensor([2.0, 0.93, -1.9])
    weight[1, 39] = -8.0  # alone with 15 others in the second block
    weight[1, 38] = 0.5
    values, scale = kernel.reference(torch, weight, "fp4")
    assert (float(scale[0, 0]), float(scale[1, 39])) == (2.0, 8.0)
    assert values[0, :3].tolist() == pytest.approx([2.0, 1.0, -2.0])
    assert values[1, 38:].tolist() == pytest.approx([8 / 192, -8.0])


@pytest.mark.parametrize("nested", [False, True])
def test_values_off_their_level_are_told(kernel: Any, torch: Any, *, nested: bool) -> None:
    torch.manual_seed(1)
    weight = torch.randn(30, 70)
    setting = kernel.Setting("nf4", nested, torch.bfloat16, "cpu")
    right, scale = kernel.reference(torch, weight, "nf4")
    assert kernel._off(torch, weight, right.float(), setting) is None
    one_off = right.clone()
    one_off[3, 4] += 0.03 * scale[3, 4]
    assert kernel._off(torch, weight, one_off, setting).startswith("1 of 2100 values are not")
    other_level = torch.where(right == 0, -0.09105003625 * scale, right)
    assert kernel._off(torch, weight, other_level, setting) is not None
    assert kernel._off(torch, weight, right * float("nan"), setting).startswith("2100 of 2100")


def test_scales_quantized_again_may_be_a_little_off(kernel: Any, torch: Any) -> None:
    weight = torch.randn(30, 70)
    right, _scale = kernel.reference(torch, weight, "nf4")
    plain, nested = (kernel.Setting("nf4", one, torch.bfloat16, "cpu") for one in (False, True))
    assert kernel._off(torch, weight, right * 1.005, plain) is not None
    assert kernel._off(torch, weight, right * 1.005, nested) is None


def test_what_native_code_should_have_done_is_told(kernel: Any) -> None:
    module = types.SimpleNamespace(functional=types.SimpleNamespace(gemv_4bit=print))
    older = types.SimpleNamespace(functional=types.SimpleNamespace())
    packing = {"cquantize_blockwise_fp32_nf4": 4, "cdequantize_blockwise_fp32_nf4": 4}
    one_row = {"cgemm_4bit_inference_naive_bf16": 1}
    assert kernel._slow(module, packing, one_row) is None
    assert "one row did not go through" in kernel._slow(module, packing, packing)
    assert kernel._slow(older, packing, packing) is None
    assert "no native cquantize_blockwise*" in kernel._slow(module, {}, one_row)


def test_a_size_that_a_cpu_release_refuses_is_noted_and_no_other_error(kernel: Any) -> None:
    fields = {"device": "cpu", "evidence": ["here"]}
    error = RuntimeError("n must be divisible by blocksize")
    kernel._note_refusal(fields, error, "1 x 130", first=False)
    assert fields["evidence"][1:] == [
        "1 x 130 on the CPU: RuntimeError: n must be divisible by blocksize"
    ]
    for first, where in ((True, "cpu"), (False, "cuda:0")):
        with pytest.raises(RuntimeError):
            kernel._note_refusal({**fields, "device": where}, error, "1 x 130", first=first)


def test_every_variant_runs_for_real_on_this_cpu(start: Start) -> None:
    pytest.importorskip("bitsandbytes")
    answer = start("bnb_4bit", env={"CUDA_VISIBLE_DEVICES": ""})
    for variant, error in (("nf4", 0.0917), ("fp4", 0.122), ("nf4-double-quant", 0.0917)):
        one = answer.one(variant, "cpu")
        assert (one["outcome"], one["detail"][:20]) == ("passed", "levels as published;")
        assert one["numbers"]["rel_error"] == pytest.approx(error, abs=0.003)
        assert 0 < one["numbers"]["max_rel_error"] <= one["numbers"]["tolerance"]
        assert "dequantize_blockwise_cpu" in one["path_taken"]


@pytest.mark.parametrize(
    ("answer", "code"), [("none", "silent-slow-path"), ("shifted", "wrong-value")]
)
def test_weights_that_come_back_wrong_are_wrong(
    kernel: Any, torch: Any, monkeypatch: pytest.MonkeyPatch, answer: str, code: str
) -> None:
    bitsandbytes: Any = pytest.importorskip("bitsandbytes")
    right = bitsandbytes.functional.dequantize_4bit
    forged = (lambda *_any: None) if answer == "none" else (lambda *packed: right(*packed) + 0.1)
    monkeypatch.setattr(bitsandbytes.functional, "dequantize_4bit", forged)
    fields = {"variant": "nf4", "device": "cpu", "evidence": []}
    one = kernel._examined(kernel._beside("_outcomes"), torch, bitsandbytes, fields)
    assert (one["outcome"], one["code"]) == ("wrong", code)


def test_a_layer_that_multiplies_wrongly_is_wrong(
    kernel: Any, torch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bitsandbytes: Any = pytest.importorskip("bitsandbytes")
    right = bitsandbytes.nn.Linear4bit.forward
    monkeypatch.setattr(
        bitsandbytes.nn.Linear4bit, "forward", lambda layer, x: right(layer, x) * 1.02
    )
    fields = {"variant": "nf4", "device": "cpu", "evidence": []}
    with torch.no_grad():
        one = kernel._examined(kernel._beside("_outcomes"), torch, bitsandbytes, fields)
    assert (one["outcome"], one["code"]) == ("wrong", "wrong-value")


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_real_gpu_it_keeps_to_its_memory(start: Start) -> None:
    pytest.importorskip("bitsandbytes")
    answer = start("bnb_4bit")
    for variant in ("nf4", "fp4", "nf4-double-quant"):
        one = answer.one(variant)
        assert (one["device"], one["outcome"]) == ("cuda:0", "passed")
        assert 0 < one["numbers"]["gpu_mib"] <= 64
