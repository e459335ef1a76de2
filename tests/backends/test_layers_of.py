"""Finding a model's linear layers, what shares memory, and which methods read weights."""

# ruff: noqa: ANN401 - torch is untyped here
# mypy: disable-error-code="misc, name-defined"

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from qdoctor.backends.layers_of import places, read_directly, shared  # noqa: E402 - torch first


def test_places_are_found_by_name_and_can_be_emptied() -> None:
    model = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Sequential(torch.nn.Linear(2, 2)))
    (place,) = places(model)
    assert place.name == "1.0"
    assert place.layer is model[1][0]
    model[1][0] = torch.nn.Identity()
    assert isinstance(place.layer, torch.nn.Identity)


def test_a_module_that_is_missing_is_no_place() -> None:
    model = torch.nn.Module()
    model.register_module("absent", None)
    assert places(model) == []


def test_what_is_alone_in_its_memory_is_not_shared() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    model.register_buffer("none", None)
    model.register_buffer("empty", torch.empty(0))
    model.register_buffer("graph", torch.eye(4).to_sparse())  # has no address
    assert shared(model) == {}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_nested_tensor_shares_no_memory() -> None:
    model = torch.nn.Linear(4, 4)
    model.register_buffer("ragged", torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]))
    assert shared(model) == {}


def test_shared_parameters_and_views_are_found() -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Linear(4, 9, bias=False))
    model[1].weight = model[0].weight
    assert shared(model)[id(model[0].weight)] == ("0.weight", "1.weight")
    model.register_buffer("view", model[0].weight.detach()[2:4])
    assert "view" in shared(model)[id(model[0].weight)]
    assert "0.weight" in shared(model)[id(model.view)]


def test_a_transposed_view_reaches_over_its_memory() -> None:
    model = torch.nn.Module()
    base = torch.randn(8, 8)
    model.register_buffer("left", base.t()[:, :4])
    model.register_buffer("right", base[3:5])
    assert len(shared(model)) == 2


class Parent(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.made = torch.nn.Linear(2, 2)
        self.made.weight.data.zero_()

    def forward(self, x: Any) -> Any:
        x = x.to(self.asked.weight.dtype)
        if isinstance(self.tensor.weight, torch.Tensor) and hasattr(self.tensor.weight, "CB"):
            x = x.float()  # as transformers' T5 asks whether the weight is quantized
        return x @ self.read.weight + self.other(x).weight

    @staticmethod
    def elsewhere(module: Any) -> Any:
        return module.made.weight


class Child(Parent):
    pass


@pytest.mark.parametrize("parent", [Parent(), Child()])
def test_only_what_is_taken_as_a_tensor_counts(parent: Any) -> None:
    assert read_directly(parent, "read") == "Parent.forward"
    for name in ("made", "asked", "tensor", "other"):
        assert read_directly(parent, name) is None


def test_a_class_without_source_tells_nothing() -> None:
    made = type("Made", (torch.nn.Module,), {})()
    assert read_directly(made, "read") is None


def test_torch_s_encoder_reads_its_layers() -> None:
    layer = torch.nn.TransformerEncoderLayer(8, 2)
    assert read_directly(layer, "linear1") == "TransformerEncoderLayer.forward"
