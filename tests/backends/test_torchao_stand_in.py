"""The layer around torchao's tensors, on a tensor of ours that is made as theirs are."""

# ruff: noqa: ANN401 - torch is untyped here
# mypy: disable-error-code="misc,name-defined"

from __future__ import annotations

import copy
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from qdoctor import backends  # noqa: E402
from qdoctor.backends import torchao_layers, trial  # noqa: E402
from qdoctor.backends.torchao_int4 import TorchAoInt4  # noqa: E402
from qdoctor.backends.torchao_int8 import TorchAoInt8  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT = {"aten.detach.default", "aten.clone.default", "aten._to_copy.default", "aten.alias.default"}


class Rounded(torch.Tensor):
    """A weight of which int8 numbers and a scale a row are kept."""

    q: Any
    scale: Any

    @staticmethod
    def __new__(cls: Any, q: Any, scale: Any, dtype: Any) -> Any:
        return torch.Tensor._make_wrapper_subclass(cls, q.shape, dtype=dtype, device=q.device)

    def __init__(self, q: Any, scale: Any, _dtype: Any) -> None:
        self.q, self.scale = q, scale

    def __tensor_flatten__(self) -> Any:
        return ["q", "scale"], None

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if str(func) in KEPT:
            kept = args[0]
            return cls(kept.q.clone(), kept.scale.clone(), (kwargs or {}).get("dtype", kept.dtype))
        plain = torch.utils._pytree.tree_map(
            lambda one: one.plain() if isinstance(one, cls) else one, args
        )
        return func(*plain, **(kwargs or {}))

    def plain(self) -> Any:
        return (self.q * self.scale).to(self.dtype)


def rounded(weight: Any) -> Any:
    scale = weight.float().abs().amax(1, keepdim=True) / 127
    return Rounded((weight.float() / scale).round().to(torch.int8), scale, weight.dtype)


@pytest.fixture
def torchao(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stand in for torchao and its recipes; ``leaves`` makes it leave layers alone."""
    seen = SimpleNamespace(asked=[], leaves=False, missing=())

    def recipe(name: str, device: str, *, group: int = 128) -> Any:
        if device in seen.missing:
            raise LookupError(f"torchao 0.0.7 has no {name} recipe for {device}")
        seen.asked.append((name, device, group))

        def apply(model: Any) -> None:
            if not seen.leaves:
                kept = rounded(model[0].weight.detach())
                model[0].weight = torch.nn.Parameter(kept, requires_grad=False)
                model[0].extra_repr = model.extra_repr  # as torchao binds its own

        return SimpleNamespace(words="torchao 0.0.7: quantize_", config=object(), apply=apply)

    made = SimpleNamespace(recipe=recipe, GROUP=128)
    monkeypatch.setattr(torchao_layers, "recipes", lambda: made)
    monkeypatch.setitem(sys.modules, "torchao", ModuleType("torchao"))
    return seen


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.usefixtures("torchao")
def test_output_and_gradients_are_those_of_the_layer(
    dtype: str, gaussian: Callable[..., Any], relative: Callable[[Any, Any], float]
) -> None:
    linear = gaussian(1040, 64, None, getattr(torch, dtype))
    kind = TorchAoInt8()
    layer = kind.replaced(linear)
    x = torch.randn(3, 8, 1040, dtype=linear.weight.dtype, requires_grad=True)
    y = layer(x)
    grad = torch.randn_like(y)
    y.backward(grad)
    exact = [one.detach().double() for one in (x, linear.weight, linear.bias)]
    assert 0.001 < relative(y, torch.nn.functional.linear(*exact)) < 0.02
    assert 0.001 < relative(x.grad, grad.double() @ exact[1]) < 0.02
    assert relative(layer.bias.grad, grad.double().sum((0, 1))) < 0.02
    assert (y.dtype, x.grad.dtype) == (x.dtype, x.dtype)
    assert kind.weight_bytes(layer) == 1040 * 64 + 4 * 64
    assert "weight=Rounded" in repr(layer)
    assert "extra_repr" not in vars(layer)


@pytest.mark.usefixtures("torchao")
def test_casts_copies_and_states_keep_the_weight(gaussian: Callable[..., Any]) -> None:
    kind = TorchAoInt8()
    layer = kind.replaced(gaussian(64, 32))
    x = torch.randn(5, 64)
    with torch.no_grad():
        wanted = layer(x)
        assert torch.equal(copy.deepcopy(layer)(x), wanted)
        cast = copy.deepcopy(layer).half()
        assert (cast.weight.dtype, cast.bias.dtype) == (torch.bfloat16, torch.float16)
        assert [name for name, _ in cast.named_parameters()] == ["weight", "bias"]
        other = kind.replaced(gaussian(64, 32))
        other.load_state_dict(layer.state_dict())
        assert torch.equal(other(x), wanted)
        with pytest.raises(RuntimeError, match=r"a Tensor of \(32, 64\), where this layer has"):
            other.load_state_dict(gaussian(64, 32).state_dict())
        assert other.load_state_dict({"bias": layer.bias}, strict=False).missing_keys == ["weight"]


@pytest.mark.usefixtures("torchao")
def test_few_rows_are_filled_up_where_the_product_asks_for_more(
    gaussian: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = TorchAoInt8().replaced(gaussian(64, 32))
    layer.fewest_rows = 17
    rows: list[int] = []
    product = torch.nn.functional.linear

    def counted(x: Any, *rest: Any) -> Any:
        rows.append(len(x))
        return product(x, *rest)

    monkeypatch.setattr(torch.nn.functional, "linear", counted)
    with torch.no_grad():
        for shape in ((64,), (1, 64), (2, 3, 64), (20, 64), (0, 64)):
            assert layer(torch.randn(shape)).shape == (*shape[:-1], 32)
    assert rows == [17, 17, 17, 20]
    with pytest.raises(RuntimeError, match=r"takes \(\.\.\., 64\), not \(2, 5\)"):
        layer(torch.randn(2, 5))


def test_a_layer_that_torchao_leaves_alone_is_no_backend(
    torchao: SimpleNamespace, gaussian: Callable[..., Any]
) -> None:
    torchao.leaves = True
    with pytest.raises(RuntimeError, match=r"left a layer of \(32, 64\) as it was"):
        TorchAoInt8().replaced(gaussian(64, 32))


def test_int4_asks_for_the_largest_group_that_fits(
    torchao: SimpleNamespace, gaussian: Callable[..., Any]
) -> None:
    kind = TorchAoInt4()
    for depth, group in ((256, 128), (192, 64), (160, 32)):
        kind.replaced(gaussian(depth, 32))
        assert torchao.asked[-1] == ("int4", "cpu", group)
    assert "whole 32s and out_features of whole 16s" in kind.why_not(gaussian(100, 32))
    assert "float64" in kind.why_not(gaussian(128, 32, None, torch.float64))
    assert "cannot train a weight" in kind.why_not(gaussian(128, 32), training=True)


def test_a_release_without_the_format_says_so(
    torchao: SimpleNamespace, gaussian: Callable[..., Any]
) -> None:
    torchao.missing = ("cpu",)
    assert "no int4 recipe for cpu" in TorchAoInt4().why_not(gaussian(128, 32))
    torchao.missing = ("cpu", "cuda")
    with pytest.raises(backends.BackendUnavailable, match="has no int4 recipe for cuda; `python"):
        TorchAoInt4()


def test_without_torchao_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(backends.BackendUnavailable, match="torchao") as caught:
        backends.named("torchao-fp8")
    assert "torchao" in str(caught.value)


@pytest.mark.usefixtures("torchao")
def test_a_transformers_that_takes_no_configuration_of_torchao_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = ModuleType("transformers")
    old.__version__ = "4.40.0"  # type: ignore[attr-defined]

    def refuse(**_: Any) -> None:
        raise ValueError("quant_type must be a str")

    old.TorchAoConfig = refuse  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformers", old)
    with pytest.raises(backends.BackendUnavailable, match=r"transformers 4\.40\.0 does not take"):
        TorchAoInt8().transformers_config()
    old.TorchAoConfig = lambda **given: given  # type: ignore[attr-defined]
    given = TorchAoInt8().transformers_config(["head"])
    assert set(given) == {"quant_type", "modules_to_not_convert"}
    assert any("head" in one for one in given["modules_to_not_convert"])
    assert TorchAoInt8().transformers_config()["modules_to_not_convert"] is None


def test_no_configuration_is_given_where_such_layers_fail(
    torchao: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with MXFP4 on an H100: transformers loads the model, and its layers raise."""
    transformers = ModuleType("transformers")
    transformers.TorchAoConfig = lambda **given: given  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    monkeypatch.setattr(trial, "_known", {})
    torchao.leaves = True
    with pytest.raises(backends.BackendUnavailable, match=r"^torchao-int8 does not work on cpu: "):
        TorchAoInt8().transformers_config()
    monkeypatch.setattr(trial, "_known", {})
    monkeypatch.setattr(TorchAoInt8, "replaced", full)
    assert TorchAoInt8().transformers_config()["quant_type"] is not None
    state = torch.get_rng_state()
    TorchAoInt8().transformers_config()
    assert torch.equal(torch.get_rng_state(), state)


def full(*_: Any, **__: Any) -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory")
