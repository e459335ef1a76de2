"""The backend ``bnb-int8``: LLM.int8() with its outliers, and what bitsandbytes' layer lacks."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")
bnb = pytest.importorskip("bitsandbytes")

from qdoctor.backends import named  # noqa: E402 - torch first
from qdoctor.backends.bnb_int8 import THRESHOLD  # noqa: E402
from qdoctor.backends.bnb_layers import SayOnce  # noqa: E402
from qdoctor.backends.replacing import quantize_  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable


def with_outliers(device: Any) -> Any:
    x = torch.randn(64, 256, device=device)
    x[:, 7] = 40.0
    return x


def test_the_layer_is_bitsandbytes_own(device: Any, gaussian: Callable[..., Any]) -> None:
    layer = named("bnb-int8").replaced(gaussian(64, 48, device, torch.float16))
    assert isinstance(layer, bnb.nn.Linear8bitLt)
    assert layer.weight.dtype == torch.int8
    assert not layer.state.has_fp16_weights
    assert layer.state.threshold == THRESHOLD


def test_outliers_do_not_spoil_the_rest(
    device: Any, gaussian: Callable[..., Any], relative: Callable[[Any, Any], float]
) -> None:
    linear = gaussian(256, 128, device, torch.float16)
    x = with_outliers(device).half()
    x[:, 7] = 0.0
    linear.weight.data[:, 7] = 0.0  # the outlier adds nothing, but widens a row's steps
    rest = linear(x)
    x[:, 7] = 40.0
    layer = named("bnb-int8").replaced(linear)
    with torch.no_grad():
        assert relative(layer(x), rest) <= 0.016
        layer.state.threshold = 0.0
        assert relative(layer(x), rest) > 0.03


def test_a_weight_that_trains_is_quantized_anew_while_it_holds_a_gradient(
    device: Any, gaussian: Callable[..., Any], relative: Callable[[Any, Any], float]
) -> None:
    """Most programs call zero_grad() between the forward and the backward pass."""
    layer = named("bnb-int8").replaced(gaussian(64, 48, device), training=True).train()
    x = torch.randn(5, 64, device=device)
    before = layer(x) - layer.bias
    before.sum().backward()
    with torch.no_grad():
        layer.weight.mul_(-2.0)
    assert layer.weight.grad is not None
    assert relative(layer(x) - layer.bias, -2.0 * before) <= 0.02


def test_a_used_model_moves_as_a_whole(device: Any, gaussian: Callable[..., Any]) -> None:
    layer = named("bnb-int8").replaced(gaussian(64, 48, device))
    model = torch.nn.Sequential(layer)
    x = torch.randn(5, 64, device=device)
    with torch.no_grad():
        y = model(x)
        moved = model.to("cpu").to(device)
        assert torch.equal(moved(x), y)
    for holder in (layer.state, layer.weight):
        assert all(one is None or one.device == x.device for one in (holder.CB, holder.SCB))


def test_the_same_message_is_not_said_at_each_forward() -> None:
    once = SayOnce()
    logger = logging.getLogger("bitsandbytes.autograd._functions")
    record = logger.makeRecord(logger.name, logging.WARNING, "", 0, "cast %s", ("bf16",), None)
    other = logger.makeRecord(logger.name, logging.WARNING, "", 0, "cast %s", ("fp32",), None)
    assert [once.filter(one) for one in (record, record, other)] == [True, False, True]
    assert any(isinstance(one, SayOnce) for one in logger.filters)


def test_a_training_layer_keeps_its_weight_wide(device: Any, gaussian: Callable[..., Any]) -> None:
    linear = gaussian(64, 48, device)
    layer = named("bnb-int8").replaced(linear, training=True)
    assert layer.state.has_fp16_weights
    assert layer.weight.dtype == torch.float32
    assert layer.weight.requires_grad
    assert torch.equal(layer.weight, linear.weight)
    assert layer.weight.data_ptr() != linear.weight.data_ptr()


def test_a_model_is_marked_for_peft(gaussian: Callable[..., Any]) -> None:
    model = torch.nn.Sequential(gaussian(64, 64))
    done = quantize_(model, "bnb-int8")
    assert model.is_loaded_in_8bit
    assert "PEFT" in done.notes["(the model)"]


@pytest.mark.parametrize("wanted", [True, False], ids=["trained", "frozen"])
def test_a_training_layer_answers_in_eval_mode_from_its_weight_as_it_is_now(
    device: Any,
    gaussian: Callable[..., Any],
    relative: Callable[[Any, Any], float],
    *,
    wanted: bool,
) -> None:
    linear = gaussian(64, 48, device)
    layer = named("bnb-int8").replaced(linear, training=True).train()
    layer.weight.requires_grad_(wanted)
    x = torch.randn(16, 64, device=device)
    layer(x.requires_grad_()).sum().backward()
    with torch.no_grad():
        layer.weight.neg_()  # a step of the optimizer, and a large one
        assert relative(layer.eval()(x), x @ -linear.weight.t() + linear.bias) <= 0.03
    assert layer.weight.requires_grad is wanted


@pytest.mark.parametrize("assign", [False, True], ids=["copied", "assigned"])
def test_a_training_layer_takes_a_weight_that_was_quantized(
    device: Any,
    gaussian: Callable[..., Any],
    relative: Callable[[Any, Any], float],
    *,
    assign: bool,
) -> None:
    linear, kind = gaussian(64, 48, device), named("bnb-int8")
    layer = kind.replaced(gaussian(64, 48, device), training=True)
    layer.load_state_dict(kind.replaced(linear).state_dict(), assign=assign)
    assert layer.weight.requires_grad
    assert layer.weight.dtype == torch.float32
    assert relative(layer.weight, linear.weight) <= 0.01


def test_what_is_frozen_stays_so_when_the_rest_is_to_train(device: Any) -> None:
    model = torch.nn.Sequential(*(torch.nn.Linear(64, 64, device=device) for _ in range(2)))
    if reason := named("bnb-int8").why_not(model[0], training=True):
        pytest.skip(reason)
    model[0].requires_grad_(requires_grad=False)
    quantize_(model.train(), "bnb-int8", training=True)
    wanted = {name: one.requires_grad for name, one in model.named_parameters()}
    assert wanted == {"0.weight": False, "0.bias": False, "1.weight": True, "1.bias": True}
    model(torch.randn(3, 64, device=device)).sum().backward()
    assert model[0].weight.grad is None
    assert model[1].weight.grad is not None
