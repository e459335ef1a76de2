"""The backends ``bnb-nf4`` and ``bnb-fp4``: 4 bits a weight."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")
bnb = pytest.importorskip("bitsandbytes")

from qdoctor.backends import named  # noqa: E402 - torch first
from qdoctor.backends.replacing import quantize_  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(params=["nf4", "fp4"])
def code(request: pytest.FixtureRequest) -> str:
    """Which sixteen levels a weight has."""
    return str(request.param)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_layer_is_bitsandbytes_own(
    code: str, device: Any, dtype: Any, gaussian: Callable[..., Any]
) -> None:
    linear = gaussian(128, 48, device, dtype)
    layer = named(f"bnb-{code}").replaced(linear)
    assert isinstance(layer, bnb.nn.Linear4bit)
    assert layer.weight.quant_type == layer.weight.quant_state.quant_type == code
    assert layer.weight.dtype == torch.uint8
    assert layer.weight.numel() == linear.weight.numel() // 2
    assert layer.compute_dtype == dtype
    assert not layer.weight.quant_state.nested


def test_the_weight_has_sixteen_levels_a_block(
    code: str, device: Any, gaussian: Callable[..., Any]
) -> None:
    layer = named(f"bnb-{code}").replaced(gaussian(64, 48, device))
    weight = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    assert all(len(set(row.tolist())) <= 16 for row in weight.float())


def test_a_wide_weight_is_computed_with_in_sixteen_bits(
    code: str, device: Any, gaussian: Callable[..., Any]
) -> None:
    layer = named(f"bnb-{code}").replaced(gaussian(64, 48, device))
    assert layer.compute_dtype in {torch.float16, torch.bfloat16}
    assert layer(torch.randn(3, 64, device=device)).dtype == torch.float32


# 0.50.2 also warns on GPUs that its fast product needs depths in blocks of 64.
@pytest.mark.filterwarnings("ignore:inner dimension .* is not aligned:UserWarning")
def test_a_depth_that_is_unpacked_wrongly_is_refused(
    code: str, device: Any, gaussian: Callable[..., Any], relative: Callable[[Any, Any], float]
) -> None:
    """Some releases unpack depths within a block of 64 wrongly on some CPUs; none may slip by."""
    kind = named(f"bnb-{code}")
    for depth in (96, 160, 32, 1056):
        linear = gaussian(depth, 64, device)
        x = torch.randn(64, depth, device=device)
        good = relative(kind.replaced(linear)(x), linear(x)) <= 0.15
        assert good == (not kind.why_not(linear))


def test_an_empty_batch_after_a_full_one(
    code: str, device: Any, gaussian: Callable[..., Any]
) -> None:
    """bitsandbytes 0.50.2 alone dies of it (SIGFPE) on CPUs with AVX512-BF16."""
    layer = named(f"bnb-{code}").replaced(gaussian(128, 64, device, torch.bfloat16)).eval()
    with torch.no_grad():
        layer(torch.randn(3, 128, device=device, dtype=torch.bfloat16))
        y = layer(torch.randn(0, 128, device=device, dtype=torch.bfloat16))
    assert y.shape == (0, 64)


def test_saving_after_inference_changes_nothing(
    code: str, device: Any, gaussian: Callable[..., Any]
) -> None:
    """bitsandbytes 0.50.2 alone then saves transposed scales on CPUs with AVX512-BF16."""
    layer = named(f"bnb-{code}").replaced(gaussian(128, 64, device, torch.bfloat16)).eval()
    x = torch.randn(3, 128, device=device, dtype=torch.bfloat16)
    with torch.no_grad():
        y = layer(x)
        layer.state_dict()
        assert torch.equal(layer(x), y)


def test_a_model_is_marked_for_peft(code: str, gaussian: Callable[..., Any]) -> None:
    model = torch.nn.Sequential(gaussian(64, 64))
    done = quantize_(model, f"bnb-{code}")
    assert model.is_loaded_in_4bit
    assert "PEFT" in done.notes["(the model)"]
