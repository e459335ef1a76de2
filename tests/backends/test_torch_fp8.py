"""The backend ``torch-fp8``: e4m3 weights and activations, and a device that has no product."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from qdoctor.backends import BackendUnavailable, named, scaled_mm  # noqa: E402 - torch first
from qdoctor.backends.scaled_mm import LARGEST, Way, quantize  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def _has_fp8(request: pytest.FixtureRequest) -> None:
    if "device" in request.fixturenames:
        try:
            scaled_mm.way_on(request.getfixturevalue("device"), torch.float32)
        except RuntimeError as error:
            pytest.skip(str(error))


@pytest.mark.parametrize("rowwise", [False, True], ids=["whole", "rows"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_values_are_the_nearest_e4m3_of_their_scale(
    device: Any, dtype: str, *, rowwise: bool, relative: Callable[[Any, Any], float]
) -> None:
    x = torch.randn(40, 96, device=device, dtype=getattr(torch, dtype))
    x[3] = 0.0
    x[5] *= 100.0
    q, scale = quantize(x, rowwise=rowwise)
    assert q.dtype == torch.float8_e4m3fn
    assert scale.shape == ((40, 1) if rowwise else ())
    assert float(q.float().abs().max()) == LARGEST
    assert relative(q.float() * scale, x) <= 0.03
    assert not q[3].float().any()


@given(st.floats(1e-6, 6e4), st.booleans(), st.sampled_from(["float16", "bfloat16", "float32"]))
def test_no_finite_value_becomes_infinite(size: float, rowwise: bool, dtype: str) -> None:  # noqa: FBT001
    x = (torch.tensor([[1.0, -0.5, 0.001], [0.3, 0.0, 1e-6]]) * size).to(getattr(torch, dtype))
    q, scale = quantize(x, rowwise=rowwise)
    assert torch.isfinite(q.float()).all()
    assert torch.isfinite(scale).all()


@pytest.mark.parametrize("rowwise", [False, True], ids=["whole", "rows"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("size", [1e-36, 1e-38, 1e-40])
def test_rows_next_to_nothing_are_no_nan(
    size: float, dtype: str, *, rowwise: bool, relative: Callable[[Any, Any], float]
) -> None:
    """As ReLUs and decaying weights leave them: one would make all that follows NaN."""
    x = (torch.randn(4, 32, dtype=torch.float64).abs() * size).to(getattr(torch, dtype))
    x[:, 3] = 0.0
    q, scale = quantize(x, rowwise=rowwise)
    assert relative(q.double() * scale.double(), x) <= (0.05 if size > 1e-39 else 0.5)


def test_sizes_that_are_no_sixteens_are_filled_up(
    device: Any, gaussian: Callable[..., Any]
) -> None:
    kind = named("torch-fp8")
    layer = kind.replaced(gaussian(77, 65, device))
    assert tuple(layer.weight_fp8.shape) == (80, 80)
    assert not layer.weight_fp8[65:].float().any()
    assert not layer.weight_fp8[:, 77:].float().any()
    assert kind.weight_bytes(layer) == 80 * 80 + 4 * layer.weight_scale.numel()
    assert repr(layer) == "qdoctor.Fp8Linear(in_features=77, out_features=65, bias=True)"


def test_the_weight_can_be_read_and_is_not_saved(
    device: Any, gaussian: Callable[..., Any], relative: Callable[[Any, Any], float]
) -> None:
    linear = gaussian(77, 65, device, torch.float16)
    layer = named("torch-fp8").replaced(linear)
    assert isinstance(layer, torch.nn.Linear)
    assert layer.weight.dtype == torch.float16
    assert relative(layer.weight, linear.weight) <= 0.03
    assert "weight" not in layer.state_dict()


def test_one_scale_where_rows_are_not_multiplied(
    device: Any,
    monkeypatch: pytest.MonkeyPatch,
    gaussian: Callable[..., Any],
    relative: Callable[[Any, Any], float],
) -> None:
    monkeypatch.setattr(
        "qdoctor.backends.torch_fp8._way_on", lambda *_: Way(rowwise=False, dtype=torch.bfloat16)
    )
    linear = gaussian(128, 96, device)
    layer = named("torch-fp8").replaced(linear)
    x = torch.randn(64, 128, device=device, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert relative(y, linear(x)) <= 0.045
    assert relative(x.grad, torch.ones_like(y) @ linear.weight) <= 0.035


def test_a_wrong_input_is_met_with_the_sizes(device: Any, gaussian: Callable[..., Any]) -> None:
    layer = named("torch-fp8").replaced(gaussian(64, 48, device))
    with pytest.raises(RuntimeError, match=r"takes \(\.\.\., 64\), not \(3, 63\)"):
        layer(torch.randn(3, 63, device=device))


def test_a_device_without_the_product_is_refused_in_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise RuntimeError("only supported on other GPUs\nat all")

    monkeypatch.setattr(scaled_mm, "_ways", {})
    monkeypatch.setattr(scaled_mm, "multiply", none)
    reason = named("torch-fp8").why_not(torch.nn.Linear(64, 64))
    assert reason == ("torch-fp8 does not work on cpu: RuntimeError: only supported on other GPUs")


def test_a_product_that_is_wrong_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaled_mm, "_ways", {})
    monkeypatch.setattr(scaled_mm, "multiply", lambda a, b, *_: torch.zeros(len(a), len(b[0])))
    with pytest.raises(RuntimeError, match="wrong by 1"):
        scaled_mm.way_on(torch.device("cpu"), torch.float16)


def test_a_torch_without_fp8_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch, "_scaled_mm")
    with pytest.raises(BackendUnavailable, match="has no fp8 product"):
        named("torch-fp8")


def test_double_precision_is_refused() -> None:
    linear = torch.nn.Linear(64, 64, dtype=torch.float64)
    assert "float64" in named("torch-fp8").why_not(linear)


def test_the_bias_trains(device: Any, gaussian: Callable[..., Any]) -> None:
    layer = named("torch-fp8").replaced(gaussian(64, 48, device))
    grad = torch.randn(7, 48, device=device)
    layer(torch.randn(7, 64, device=device)).backward(grad)
    assert torch.allclose(layer.bias.grad, grad.sum(0), atol=0.05)


def test_sums_of_one_sign_are_kept(device: Any, relative: Callable[[Any, Any], float]) -> None:
    """Fast accumulation on Hopper loses a quarter of them: far more than quantizing does."""
    linear = torch.nn.Linear(16384, 64, bias=False, device=device)
    with torch.no_grad():
        linear.weight.uniform_(0.0, 1.0)
        x = torch.rand(64, 16384, device=device)
        layer = named("torch-fp8").replaced(linear)
        assert relative(layer(x), linear(x)) <= 0.01


def test_a_torch_that_lacks_something_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "qdoctor.backends.torch_fp8", raising=False)
    monkeypatch.delattr(torch, "compiler")
    with pytest.raises(BackendUnavailable, match=r"lacks what it needs .*install -U torch"):
        named("torch-fp8")
