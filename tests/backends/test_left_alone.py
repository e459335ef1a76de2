"""Layers that are left alone, each for its own reason."""

# ruff: noqa: ANN401 - torch is untyped here
# mypy: disable-error-code="misc, name-defined"

from __future__ import annotations

import importlib
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from qdoctor.backends.replacing import quantize_  # noqa: E402 - torch first


def linear(**more: Any) -> Any:
    return torch.nn.Linear(64, 64, **more)


def why(layer: Any, name: str = "layer") -> str:
    """Say why a layer in a model of its own is left alone."""
    model = torch.nn.ModuleDict({name: layer, "other": linear()})
    done = quantize_(model, "qdoctor-switchback")
    assert done.replaced == ("other",)
    assert model[name] is layer
    return done.skipped[name]


def test_subclasses() -> None:
    class Mine(torch.nn.Linear):
        pass

    assert "Mine, not a plain torch.nn.Linear" in why(Mine(64, 64))
    lazy = torch.nn.LazyLinear(64)
    assert "LazyLinear" in why(lazy)


def test_weights_that_are_computed() -> None:
    assert "parametrize.remove" in why(torch.nn.utils.parametrizations.orthogonal(linear()))
    assert "parametrize.remove" in why(torch.nn.utils.parametrizations.weight_norm(linear()))
    assert "prune.remove" in why(
        importlib.import_module("torch.nn.utils.prune").l1_unstructured(
            linear(), "weight", amount=0.5
        )
    )


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_older_ways_of_computing_weights() -> None:
    assert "remove_weight_norm" in why(torch.nn.utils.weight_norm(linear()))
    assert "weight_orig" in why(torch.nn.utils.spectral_norm(linear()))


def test_a_weight_that_someone_else_holds() -> None:
    layer = linear()
    flat = layer.weight.detach().clone()
    del layer.weight
    layer.weight = flat  # as FSDP leaves a view of its flat parameter
    assert "FSDP" in why(layer)


def test_a_weight_that_is_not_dense() -> None:
    layer = linear()
    layer.weight = torch.nn.Parameter(layer.weight.detach().to_sparse())
    assert why(layer) == "its weight is laid out as torch.sparse_coo"


def test_a_weight_that_is_a_tensor_subclass() -> None:
    class Quantized(torch.Tensor):
        pass

    layer = linear()
    layer.weight = torch.nn.Parameter(layer.weight.detach().as_subclass(Quantized))
    assert "Quantized already" in why(layer)


def test_views_of_one_memory_are_tied_but_neighbours_in_a_file_are_not() -> None:
    memory = torch.randn(3 * 64 * 64)
    layers = [linear(bias=False) for _ in range(3)]
    for index, layer in enumerate(layers):
        layer.weight = torch.nn.Parameter(memory[index * 4096 :][:4096].view(64, 64))
    model = torch.nn.ModuleList(layers)
    assert quantize_(model, "half").replaced == ("0", "1", "2")
    overlapping = torch.nn.ModuleList([linear(bias=False) for _ in range(2)])
    for index, layer in enumerate(overlapping):
        layer.weight = torch.nn.Parameter(memory[index * 64 :][:4096].view(64, 64))
    skipped = quantize_(overlapping, "half").skipped
    assert skipped["0"] == "its weight is tied: 1.weight has the same memory"
    assert skipped["1"] == "its weight is tied: 0.weight has the same memory"


def test_a_tied_bias() -> None:
    one, other = linear(), linear()
    one.bias = other.bias
    skipped = quantize_(torch.nn.ModuleDict({"one": one, "other": other}), "half").skipped
    assert skipped["one"] == "its bias is tied: other.bias has the same memory"


def test_a_layer_that_accelerate_manages() -> None:
    layer = linear()
    layer._hf_hook = object()
    assert "before dispatch_model" in why(layer)


def test_what_another_backend_has_quantized() -> None:
    model = torch.nn.Sequential(linear())
    quantize_(model, "torch-fp8")
    assert "it is quantized already" in why(model[0])


def test_sizes_that_are_not_the_weights() -> None:
    sharded = linear()
    sharded.weight.data = torch.empty(0)  # as DeepSpeed's ZeRO-3 leaves it
    assert "its weight is of shape (0,), not (64, 64)" in why(sharded)
    narrowed = linear()
    narrowed.weight = torch.nn.Parameter(torch.randn(48, 64))
    assert "its weight is of shape (48, 64), not (64, 64)" in why(narrowed)
    longer = linear()
    longer.bias = torch.nn.Parameter(torch.zeros(1))  # a bias for all outputs
    assert "its bias is of shape (1,), not (64,)" in why(longer)


def test_what_holds_more_than_a_linear_layer() -> None:
    low_rank = linear()
    low_rank.lora_A = torch.nn.Parameter(torch.randn(4, 64))
    low_rank.register_forward_hook(lambda module, args, y: y + args[0] @ module.lora_A.t().sum(1))
    assert "it holds more than a linear layer does (lora_A)" in why(low_rank)
    scaled = linear()
    scaled.register_buffer("scale", torch.ones(64))
    scaled.add_module("adapter", torch.nn.Identity())
    assert "(scale, adapter)" in why(scaled)
    pruned = importlib.import_module("torch.nn.utils.prune").l1_unstructured(
        linear(), "bias", amount=0.5
    )
    assert "(bias_orig, bias_mask)" in why(pruned)


def test_a_forward_that_was_replaced() -> None:
    layer = linear()
    layer.forward = lambda x: x
    assert "forward has been replaced" in why(layer)


def test_a_layer_that_torch_compile_wraps() -> None:
    """The wrapper calls the layer that it was made of, whatever takes its place."""
    model = torch.nn.Sequential(torch.compile(linear(), backend="eager"), linear())
    done = quantize_(model, "qdoctor-switchback")
    assert done.replaced == ("1",)
    assert "torch.compile wraps this very layer" in done.skipped["0._orig_mod"]


def test_what_lies_under_an_adapter() -> None:
    class BaseTunerLayer:
        """PEFT's layers have a base of this name."""

    class Lora(torch.nn.Module, BaseTunerLayer):
        def __init__(self) -> None:
            super().__init__()
            self.base_layer = linear()

    model = torch.nn.ModuleDict({"q": Lora(), "other": linear()})
    skipped = quantize_(model, "half").skipped
    assert "q is a PEFT adapter (Lora): quantize the model first" in skipped["q.base_layer"]


class Reading(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used = linear()
        self.asked = linear()
        torch.nn.init.zeros_(self.asked.weight)

    def init_weights(self) -> None:
        self.asked.weight.data.zero_()

    def forward(self, x: Any) -> Any:
        x = torch.nn.functional.linear(x, self.used.weight)
        return self.asked(x.to(self.asked.weight.device))


def test_a_weight_that_its_parent_reads() -> None:
    done = quantize_(Reading(), "qdoctor-switchback")
    assert done.replaced == ("asked",)
    assert "past the layer, by Reading.forward" in done.skipped["used"]
    model = Reading()
    assert quantize_(model, "half").replaced == ("asked",)  # a product of two dtypes raises
    assert model(torch.randn(2, 64)).dtype == torch.float32
    training = quantize_(Reading(), "qdoctor-switchback", training=True)
    assert training.replaced == ("used", "asked")


def test_output_layers() -> None:
    class Declaring(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out, self.lm_head, self.inner, self.score = (linear() for _ in range(4))

        def get_output_embeddings(self) -> Any:
            return self.out

    class Failing(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = Declaring()

        def get_output_embeddings(self) -> Any:
            raise NotImplementedError

    done = quantize_(Failing(), "half")
    assert done.replaced == ("part.inner",)
    assert "get_output_embeddings" in done.skipped["part.out"]
    assert "last layer" in done.skipped["part.score"]
    assert "by its name" in done.skipped["part.lm_head"]


def test_what_the_model_itself_keeps_wide() -> None:
    class T5(torch.nn.Module):
        _keep_in_fp32_modules = ("wo",)

        def __init__(self) -> None:
            super().__init__()
            self.block = torch.nn.ModuleDict({"wi": linear(), "wo": linear()})

    done = quantize_(T5(), "half")
    assert done.replaced == ("block.wi",)
    assert "keeps wo in float32" in done.skipped["block.wo"]


def test_position_embeddings_are_no_vocabulary() -> None:
    model = torch.nn.ModuleDict(
        {"positions": torch.nn.Embedding(50, 64), "up": torch.nn.Linear(64, 50)}
    )
    assert quantize_(model, "half").replaced == ("up",)
