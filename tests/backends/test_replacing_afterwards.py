"""What a model still is and does once layers are replaced: hooks, dtypes, training, compiling."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from qdoctor.backends.replacing import quantize_  # noqa: E402 - torch first
from tests.backends.small_model import NAMES, OURS, Model  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdoctor.backends import Kind


@pytest.mark.parametrize("name", OURS)
def test_hooks_stay_and_can_be_removed(name: str, taking: Callable[..., Kind]) -> None:
    model = Model()
    seen: list[str] = []
    layer = model.blocks[0].c_fc
    handles = [
        layer.register_forward_hook(lambda *_: seen.append("forward")),
        layer.register_forward_pre_hook(lambda *_, **__: seen.append("before"), with_kwargs=True),
        layer.register_full_backward_hook(lambda *_: seen.append("backward")),
    ]
    del layer
    quantize_(model, taking(name))
    model(torch.zeros(1, 2, dtype=torch.long)).sum().backward()
    assert seen == ["before", "forward", "backward"]
    for handle in handles:
        handle.remove()
    model(torch.zeros(1, 2, dtype=torch.long)).sum().backward()
    assert len(seen) == 3


@pytest.mark.parametrize("name", NAMES)
def test_modes_devices_and_old_dtypes_stay(
    name: str, device: Any, taking: Callable[..., Kind]
) -> None:
    kind = taking(name, torch.nn.Linear(64, 64, device=device))
    model = torch.nn.Sequential(
        torch.nn.Linear(64, 64, device=device), torch.nn.Linear(64, 64, device=device)
    )
    model[0].eval()
    quantize_(model, kind)
    assert not model[0].training
    assert model.training
    assert [one.int8_original_dtype for one in model] == [torch.float32] * 2
    model.half()
    assert [one.int8_original_dtype for one in model] == [torch.float16] * 2
    assert all(tensor.device.type == device.type for tensor in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_what_is_made_in_inference_mode_serves_elsewhere(
    name: str, taking: Callable[..., Kind]
) -> None:
    kind = taking(name)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64))
    with torch.inference_mode():
        quantize_(model, kind)
        single = kind.linear(64, 64)
        model(torch.randn(2, 64))
    x = torch.randn(2, 64, requires_grad=True)
    (model(x) + single(x)).sum().backward()
    assert float(x.grad.abs().sum()) > 0.0


@pytest.mark.parametrize("training", [False, True])
def test_weights_made_in_inference_mode_are_quantized_outside(training: bool) -> None:  # noqa: FBT001
    with torch.inference_mode():
        model = torch.nn.Sequential(torch.nn.Linear(64, 64))
    quantize_(model, "qdoctor-switchback", training=training)
    x = torch.randn(2, 64, requires_grad=True)
    model(x).sum().backward()
    assert float(x.grad.abs().sum()) > 0.0


def test_what_was_noted_on_a_layer_stays_but_for_tensors() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(64, 64))
    model[0].tag, model[0].cached = "first", model[0].weight.detach()
    seen: list[str] = []
    model[0].register_forward_hook(lambda module, *_: seen.append(module.tag))
    quantize_(model, "qdoctor-switchback")
    model(torch.randn(2, 64))
    assert seen == ["first"]
    assert not hasattr(model[0], "cached")


def test_training_makes_layers_that_train() -> None:
    model = Model().train()
    before = copy.deepcopy(model.state_dict())
    quantize_(model, "qdoctor-switchback", training=True)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model(torch.zeros(2, 3, dtype=torch.long)).square().mean().backward()
    optimizer.step()
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert not torch.equal(after["blocks.1.c_fc.weight"], before["blocks.1.c_fc.weight"])


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("name", OURS)
def test_a_compiled_model_computes_the_same(name: str, taking: Callable[..., Kind]) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU()).eval()
    quantize_(model, taking(name))
    x = torch.randn(8, 64)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        assert torch.allclose(compiled(x), model(x), atol=1e-5)


def test_a_model_that_was_compiled_is_compiled_anew() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(64, 64)).eval()
    compiled = torch.compile(model, backend="eager")
    x = torch.randn(4, 64)
    with torch.no_grad():
        wanted = compiled(x)
        assert quantize_(compiled, "qdoctor-switchback").replaced == ("_orig_mod.0",)
        assert 0.0 < float((compiled(x) - wanted).norm() / wanted.norm()) <= 0.02
