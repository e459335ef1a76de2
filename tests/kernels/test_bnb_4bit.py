"""bitsandbytes' 4-bit weights: levels as published, products near float64."""

# ruff: noqa: ANN401 - modules and tensors, without their types

from __future__ import annotations

import platform
import types
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest

from qdoctor.expectation import expect
from qdoctor.facts.host import cpu_features
from qdoctor.machine import complete
from qdoctor.matrix import shipped
from qdoctor.model import Facts, Host, Observation, Python

Start = Callable[..., Any]
Load = Callable[[str], Any]


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture
def kernel(load: Load) -> Any:
    return load("bnb_4bit")


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


def test_uneven_sizes_are_right_or_wrong_on_this_cpu_as_the_matrix_says(start: Start) -> None:
    """0.50.2 is wrong on CPUs with AVX512 and right on others; the sizes decide, not the kind."""
    pytest.importorskip("bitsandbytes")
    answer = start("bnb_4bit", env={"CUDA_VISIBLE_DEVICES": ""})
    versions = {name: version(name) for name in ("torch", "bitsandbytes")}
    host = Host(os="linux", cpu_features=cpu_features())
    python = Python(version=platform.python_version())
    facts = Facts(host=host, python=python, packages={**versions, "triton": ""}, gpus=[])
    machine = complete(facts, shipped())
    for variant in ("nf4-uneven", "fp4-uneven"):
        one = answer.one(variant, "cpu")
        seen = Observation(probe="bnb_4bit", variant=variant, device="cpu", outcome="passed")
        said = expect(seen, machine, shipped())
        assert one["outcome"] == {"yes": "passed", "no": "wrong"}[said.value], said.reason
        assert "right for 36, 130, 200" in one["detail"] or one["outcome"] == "passed"
        assert one["numbers"]["wrong_sizes"] in (0, 8)


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_real_gpu_it_keeps_to_its_memory(start: Start) -> None:
    pytest.importorskip("bitsandbytes")
    answer = start("bnb_4bit")
    for variant in ("nf4", "fp4", "nf4-double-quant", "nf4-uneven", "fp4-uneven"):
        one = answer.one(variant)
        assert (one["device"], one["outcome"]) == ("cuda:0", "passed")
        assert 0 < one["numbers"]["gpu_mib"] <= 64
