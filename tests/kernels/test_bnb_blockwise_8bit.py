"""Blockwise 8-bit quantization: the map as published, real kernels held to it."""

# ruff: noqa: ANN401 - modules and tensors, without their types

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Start = Callable[..., Any]
Load = Callable[[str], Any]


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture
def kernel(load: Load) -> Any:
    return load("bnb_blockwise_8bit")


def test_the_map_has_256_levels_that_shrink_by_decades(kernel: Any) -> None:
    levels = kernel.dynamic_map()
    assert len(levels) == len(set(levels)) == 256
    assert levels[-1] == 1.0
    assert levels[0] == -levels[-2] == pytest.approx(-0.99296875)
    above_zero = levels[levels.index(0.0) + 1 :]
    assert above_zero[:3] == pytest.approx([5.5e-7, 3.25e-6, 7.75e-6])


def test_the_reference_takes_the_nearest_level_of_each_block(kernel: Any, torch: Any) -> None:
    values = torch.zeros(300)
    values[:3] = torch.tensor([4.0, 3.98, -4.0])
    values[299] = 2e-3
    rounded, scale = kernel.reference(torch, values)
    assert (float(scale[0]), float(scale[299])) == pytest.approx((4.0, 2e-3))
    assert rounded[:3].tolist() == pytest.approx([4.0, 3.971875, -3.971875])
    assert float(rounded[299]) == pytest.approx(2e-3)


def test_strays_and_far_levels_are_told_apart(kernel: Any, torch: Any) -> None:
    torch.manual_seed(2)
    values = kernel._values(torch, 1000)
    nearest, scale = kernel.reference(torch, values)
    farther, stray = kernel._compared(torch, values, nearest.float())
    assert (float(farther.max()) < 1e-6, int(stray.sum())) == (True, 0)
    farther, stray = kernel._compared(torch, values, nearest * 1.001)
    assert int(stray.sum()) > 900
    swapped = nearest.clone()
    swapped[0] = kernel.dynamic_map()[200] * scale[0]  # a level, but another one
    farther, stray = kernel._compared(torch, values, swapped)
    assert (float(farther.max()) > kernel.TOLERANCE, int(stray.sum())) == (True, 0)


def test_it_runs_for_real_on_this_cpu(start: Start) -> None:
    pytest.importorskip("bitsandbytes")
    answer = start("bnb_blockwise_8bit", env={"CUDA_VISIBLE_DEVICES": ""})
    assert answer.one("zeros", "cpu")["outcome"] == "passed"
    one = answer.one("dynamic", "cpu")
    assert one["outcome"] == "passed"
    assert one["numbers"]["stray"] == 0
    assert one["numbers"]["max_abs_error"] <= one["numbers"]["tolerance"]
    assert "cquantize_blockwise_cpu_fp32" in one["path_taken"]


@pytest.mark.parametrize(
    ("forge", "code"),
    [
        (lambda values: values * 1.01, "wrong-value"),
        (lambda values: -values, "wrong-value"),
        (lambda values: values * float("nan"), "wrong-value"),
        (lambda values: values.half(), "silent-slow-path"),
        (lambda _values: None, "silent-slow-path"),
    ],
)
def test_values_that_come_back_wrong_are_wrong(
    kernel: Any, monkeypatch: pytest.MonkeyPatch, torch: Any, forge: Any, code: str
) -> None:
    bitsandbytes: Any = pytest.importorskip("bitsandbytes")
    right = bitsandbytes.functional.dequantize_blockwise
    monkeypatch.setattr(
        bitsandbytes.functional, "dequantize_blockwise", lambda *a, **k: forge(right(*a, **k))
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    dynamic, zeros = kernel.run({})
    assert (dynamic["outcome"], dynamic["code"]) == ("wrong", code)
    assert zeros["variant"] == "zeros"


@pytest.mark.parametrize("answer", [float("nan"), 0.5])
def test_zeros_that_come_back_as_something_else_are_wrong(
    kernel: Any, monkeypatch: pytest.MonkeyPatch, torch: Any, answer: float
) -> None:
    bitsandbytes: Any = pytest.importorskip("bitsandbytes")
    right = bitsandbytes.functional.dequantize_blockwise
    monkeypatch.setattr(
        bitsandbytes.functional,
        "dequantize_blockwise",
        lambda *a, **k: torch.where(right(*a, **k) == 0, answer, right(*a, **k)),
    )
    fields = {"variant": "zeros", "device": "cpu"}
    one = kernel._zeros(kernel._beside("_outcomes"), torch, bitsandbytes, fields)
    assert (one["outcome"], one["code"]) == ("wrong", "wrong-value")


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_real_gpu_it_keeps_to_its_memory(start: Start) -> None:
    pytest.importorskip("bitsandbytes")
    answer = start("bnb_blockwise_8bit")
    assert answer.one("zeros", "cuda:0")["outcome"] == "passed"
    one = answer.one("dynamic", "cuda:0")
    assert one["outcome"] == "passed"
    assert 0 < one["numbers"]["gpu_mib"] <= 64
