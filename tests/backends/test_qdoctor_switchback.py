"""The backend ``qdoctor-switchback``."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from qdoctor.backends import named, qdoctor_switchback  # noqa: E402 - torch first
from qdoctor.nn import NoInt8ProductError, SwitchBackLinear  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable


def test_for_inference_the_weight_is_prepared(device: Any, gaussian: Callable[..., Any]) -> None:
    layer = named("qdoctor-switchback").replaced(gaussian(64, 48, device))
    assert isinstance(layer, SwitchBackLinear)
    assert layer.prepared
    assert layer.vector_wise_quantization
    assert layer.W_int8.device == layer.state_W.device == device or device.type == "cuda"


def test_for_training_the_weight_stays(device: Any, gaussian: Callable[..., Any]) -> None:
    linear = gaussian(64, 48, device)
    layer = named("qdoctor-switchback").replaced(linear, training=True)
    assert type(layer) is SwitchBackLinear
    assert torch.equal(layer.weight, linear.weight)
    assert layer.weight.data_ptr() != linear.weight.data_ptr()


def test_a_prepared_layer_stays_in_eval_mode_until_it_has_a_weight(
    device: Any, gaussian: Callable[..., Any]
) -> None:
    linear = gaussian(64, 48, device)
    layer = named("qdoctor-switchback").replaced(linear)
    assert not layer.train().training
    layer.load_state_dict(linear.state_dict())
    assert layer.train().training


def test_a_device_without_an_int8_product_is_refused_in_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(device: Any) -> None:
        raise NoInt8ProductError(f"nothing works on {device}")

    monkeypatch.setattr(qdoctor_switchback, "way_on", none)
    reason = named("qdoctor-switchback").why_not(torch.nn.Linear(64, 64))
    assert reason == "nothing works on cpu"
