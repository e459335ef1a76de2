"""torch._scaled_mm on fp8: its product on this machine, forged ones, and a real GPU's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Start = Callable[..., Any]
Load = Callable[[str], Any]

VARIANTS = ["tensorwise", "rowwise"]


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 - torch, on the CPU
    module: Any = pytest.importorskip("torch")
    if not hasattr(module, "_scaled_mm"):
        pytest.skip("this torch has no _scaled_mm")
    monkeypatch.setattr(module.cuda, "is_available", lambda: False)
    return module


def in_float32(a: Any, b: Any, *, scale_a: Any, scale_b: Any, out_dtype: Any) -> Any:  # noqa: ANN401
    """Multiply as _scaled_mm is to, without fp8 units."""
    return ((a.float() * scale_a) @ (b.float() * scale_b)).to(out_dtype)


def answers(kernel: Any) -> dict[str, dict[str, Any]]:  # noqa: ANN401 - a kernel's module
    return {one["variant"]: one for one in kernel.run({})}


def test_without_a_gpu_the_cpu_answers_and_says_so(start: Start) -> None:
    pytest.importorskip("torch")
    answer = start("torch_fp8_scaled_mm", env={"CUDA_VISIBLE_DEVICES": ""})
    for variant in VARIANTS:
        one = answer.one(variant)
        assert one["device"] == "cpu"
        assert one["outcome"] in {"passed", "failed"}  # a torch that has no fp8 product on CPUs
        assert "sees no usable GPU" in one["evidence"][0]


def test_errors_against_the_operands_and_against_the_unquantized_are_apart(
    load: Load,
    monkeypatch: pytest.MonkeyPatch,
    torch: Any,  # noqa: ANN401
) -> None:
    monkeypatch.setattr(torch, "_scaled_mm", in_float32)
    for variant, one in answers(load("torch_fp8_scaled_mm")).items():
        assert one["outcome"] == "passed", one
        assert 0.001 < one["numbers"]["max_rel_error"] < one["numbers"]["tolerance"]
        assert 0.03 < one["numbers"]["rel_error"] < 0.045
        assert 0.03 < one["numbers"]["timed_rel_error"] < 0.045
        assert min(one["numbers"][key] for key in ("milliseconds", "milliseconds_product")) > 0
        assert one["path_taken"] == f"torch._scaled_mm {variant} on cpu"


@pytest.mark.parametrize(
    ("forge", "code"),
    [
        (lambda y: y * 1.01, "wrong-value"),
        (lambda y: y.roll(1, 0), "wrong-value"),
        (lambda y: y / 0 * 0, "wrong-value"),
        (lambda y: y.float(), "silent-slow-path"),
    ],
)
def test_wrong_numbers_and_another_precision_are_told(
    load: Load,
    monkeypatch: pytest.MonkeyPatch,
    torch: Any,  # noqa: ANN401
    forge: Callable[[Any], Any],
    code: str,
) -> None:
    monkeypatch.setattr(torch, "_scaled_mm", lambda *a, **k: forge(in_float32(*a, **k)))
    for one in answers(load("torch_fp8_scaled_mm")).values():
        assert (one["outcome"], one["code"]) == ("wrong", code)


def test_sizes_that_are_refused_are_multiplied_padded(
    load: Load,
    monkeypatch: pytest.MonkeyPatch,
    torch: Any,  # noqa: ANN401
) -> None:
    def as_on_cuda(a: Any, b: Any, **how: Any) -> Any:  # noqa: ANN401
        if a.shape[1] % 16 or b.shape[1] % 16:
            raise RuntimeError("Expected trailing dimension of mat1 to be divisible by 16")
        return in_float32(a, b, **how), torch.tensor(0.0)  # as torch 2.1 to 2.4 answered

    monkeypatch.setattr(torch, "_scaled_mm", as_on_cuda)
    for one in answers(load("torch_fp8_scaled_mm")).values():
        assert (one["outcome"], one["numbers"]["refused"]) == ("passed", 2)
        assert any("divisible by 16), padded, relative error 0.00" in t for t in one["evidence"])


def test_a_gpu_without_fp8_answers_in_its_own_words(
    load: Load,
    monkeypatch: pytest.MonkeyPatch,
    torch: Any,  # noqa: ANN401
) -> None:
    words = "torch._scaled_mm is only supported on CUDA devices with compute capability >= 9.0"

    def refuse(*_a: object, **_k: object) -> None:
        raise RuntimeError(words)

    monkeypatch.setattr(torch, "_scaled_mm", refuse)
    for one in answers(load("torch_fp8_scaled_mm")).values():
        assert (one["outcome"], one["code"]) == ("failed", "failed")
        assert one["detail"] == f"RuntimeError: {words}"


def test_quantizing_uses_the_whole_range_by_tensor_or_row(load: Load, torch: Any) -> None:  # noqa: ANN401
    kernel = load("torch_fp8_scaled_mm")
    x = torch.tensor([[1.0, -2.0, 0.5], [100.0, 3.0, -50.0], [0.0, 0.0, 0.0]]).bfloat16()
    values, scale = kernel.quantize(torch, x, "tensorwise")
    assert float(values.float().abs().max()) == 448.0
    assert scale.dim() == 0
    rows, scales = kernel.quantize(torch, x, "rowwise")
    assert rows.float().abs().amax(1).tolist() == [448.0, 448.0, 0.0]
    assert tuple(scales.shape) == (3, 1)
    assert torch.allclose(rows.float() * scales, x.float(), rtol=2**-4, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_real_gpu_it_is_right_or_refuses(start: Start) -> None:
    pytest.importorskip("torch")
    answer = start("torch_fp8_scaled_mm")
    for variant in VARIANTS:
        one = answer.one(variant)
        assert one["device"] == "cuda:0"
        if one["outcome"] == "failed":
            assert "_scaled_mm" in one["detail"] or "ScalingType" in one["detail"]
            continue
        assert one["outcome"] == "passed"
        assert one["numbers"]["gpu_mib"] <= 64
