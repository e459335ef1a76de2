"""Weights that are kept quantized and can be written: what PEFT does to merge reaches the layer."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import copy
import io
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from qdoctor.backends.replacing import quantize_  # noqa: E402 - torch first

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdoctor.backends import Kind

ERROR = {"qdoctor-switchback": 0.012, "torch-fp8": 0.035}
"""Of a Gaussian weight that is quantized: twice that where it was quantized before."""


@pytest.fixture(params=ERROR)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def linear(gaussian: Callable[..., Any], device: Any) -> Any:
    """No whole units: fp8 fills them up."""
    return gaussian(77, 65, device, torch.bfloat16)


@pytest.fixture
def layer(name: str, linear: Any, taking: Callable[..., Kind]) -> Any:
    return taking(name, linear).replaced(linear)


@pytest.fixture
def delta(linear: Any) -> Any:
    return torch.randn_like(linear.weight)


def _data_added(layer: Any, delta: Any) -> None:
    layer.weight.data += delta


def _data_assigned(layer: Any, delta: Any) -> None:
    merged = layer.weight.data.clone()
    merged += delta
    layer.weight.data = merged


def _added_by_name(layer: Any, delta: Any) -> None:
    layer.weight += delta


def _added_in_place(layer: Any, delta: Any) -> None:
    layer.weight.add_(delta)


def _copied(layer: Any, delta: Any) -> None:
    layer.weight.copy_(layer.weight + delta)


def _replaced(layer: Any, delta: Any) -> None:
    layer.weight = torch.nn.Parameter(layer.weight + delta)


def _by_a_variable(layer: Any, delta: Any) -> None:
    weight = layer.weight
    weight.data -= -delta


WRITES = [
    _data_added, _data_assigned, _added_by_name, _added_in_place, _copied, _replaced,
    _by_a_variable,
]  # fmt: skip


@pytest.mark.parametrize("write", WRITES)
def test_what_is_written_is_what_the_layer_computes_with(  # noqa: PLR0913, PLR0917 - fixtures
    name: str,
    layer: Any,
    linear: Any,
    delta: Any,
    write: Callable[[Any, Any], None],
    relative: Callable[[Any, Any], float],
) -> None:
    before, names = layer.weight + 0, list(layer.state_dict())
    write(layer, delta.requires_grad_())
    wanted = (before.double() + delta.double()).detach()
    assert 0.0 < relative(layer.weight, wanted) <= ERROR[name]
    x = torch.randn(48, 77, device=linear.weight.device, dtype=torch.bfloat16)
    with torch.no_grad():
        exact = x.double() @ wanted.t() + linear.bias.double()
        assert relative(layer(x), exact) <= 2 * ERROR[name]
    assert list(layer.state_dict()) == names
    assert not any(one.requires_grad for key, one in layer.named_parameters() if key != "bias")
    assert "weight" not in layer.__dict__


def test_taken_out_again_it_is_nearly_the_old_one(
    name: str, layer: Any, delta: Any, relative: Callable[[Any, Any], float]
) -> None:
    before = layer.weight + 0
    layer.weight.data += delta
    layer.weight.data -= delta
    assert relative(layer.weight, before) <= 3 * ERROR[name]


def test_the_tensors_stay_where_graphs_and_others_read_them(layer: Any, delta: Any) -> None:
    places = [one.data_ptr() for one in layer.buffers()]
    layer.weight.data += delta
    assert [one.data_ptr() for one in layer.buffers()] == places


def test_a_layer_that_was_moved_under_inference_mode_is_written_too(
    name: str, layer: Any, delta: Any, relative: Callable[[Any, Any], float]
) -> None:
    with torch.inference_mode():
        layer._apply(lambda tensor: tensor.clone())  # as .to() to another device
    before = layer.weight + 0
    layer.weight.data += delta
    assert relative(layer.weight, before + delta) <= ERROR[name]


@pytest.mark.parametrize(
    "write",
    [
        torch.nn.init.normal_,
        lambda w: w.data.zero_(),
        lambda w: w.data.mul_(2),
        lambda w: w.__setitem__(0, 1.0),
        lambda w: torch.add(w, 1.0, out=w),
    ],
    ids=["init", "zero_", "mul_", "item", "out"],
)
def test_any_other_write_is_refused_in_words(layer: Any, write: Callable[[Any], None]) -> None:
    before = layer.weight + 0
    with pytest.raises(RuntimeError, match=r"takes an assignment to \.data, \+=, -= and copy_"):
        write(layer.weight)
    assert torch.equal(layer.weight + 0, before)


@pytest.mark.parametrize(
    "unfit",
    [
        lambda w: w[:3],
        lambda w: w.to(torch.int32),
        lambda w: w.to("meta"),
    ],
    ids=["shape", "dtype", "meta"],
)
def test_what_does_not_fit_changes_nothing(layer: Any, unfit: Callable[[Any], Any]) -> None:
    before = layer.weight + 0
    with pytest.raises(RuntimeError, match=r"has a weight of \(65, 77\): .* cannot be put"):
        layer.weight.data = unfit(before)
    assert torch.equal(layer.weight + 0, before)


def test_a_copy_and_a_file_of_the_weight_are_numbers(layer: Any, delta: Any) -> None:
    file = io.BytesIO()
    torch.save(layer.weight, file)
    file.seek(0)
    before = layer.weight + 0
    for one in (copy.deepcopy(layer.weight), torch.load(file, weights_only=True)):
        assert type(one) is torch.Tensor
        one.add_(delta)
    assert torch.equal(layer.weight + 0, before)


def test_a_copied_layer_is_written_alone(layer: Any, delta: Any) -> None:
    before, other = layer.weight + 0, copy.deepcopy(layer)
    other.weight.data += delta
    assert torch.equal(layer.weight + 0, before)
    assert not torch.equal(other.weight + 0, before)


def test_a_model_with_merged_deltas_answers_as_with_them_beside(
    name: str,
    device: Any,
    taking: Callable[..., Kind],
    relative: Callable[[Any, Any], float],
) -> None:
    layers = [torch.nn.Linear(64, 64, dtype=torch.bfloat16, device=device) for _ in range(2)]
    kind = taking(name, layers[0])
    model = torch.nn.Sequential(layers[0], torch.nn.GELU(), layers[1])
    quantize_(model, kind)
    deltas = [torch.randn_like(one.weight) / 8 for one in layers]
    x = torch.randn(32, 64, device=device, dtype=torch.bfloat16)
    with torch.no_grad():
        without = model(x)
        inner = torch.nn.functional.gelu(model[0](x) + x @ deltas[0].t())
        wanted = model[2](inner) + inner @ deltas[1].t()
        for place, delta in zip((0, 2), deltas, strict=True):
            model[place].weight.data += delta
        assert relative(model(x), wanted) <= 3 * ERROR[name]
    assert relative(without, wanted) > 0.3
