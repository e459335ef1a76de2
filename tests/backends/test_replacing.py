"""``quantize_`` on real torch models: what is replaced, what is refused, what goes wrong."""

# ruff: noqa: ANN401 - torch is untyped here
# mypy: disable-error-code="misc, name-defined"

from __future__ import annotations

import gc
import itertools
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from qdoctor.backends import BackendUnavailable, Kind, named  # noqa: E402 - torch first
from qdoctor.backends.bnb_switchback import BnbSwitchback  # noqa: E402
from qdoctor.backends.replacing import QuantizingFailed, Replaced, quantize_  # noqa: E402
from tests.backends.small_model import FEED_FORWARD, NAMES, Model  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tied", [False, True])
def test_the_right_layers_of_a_model_are_replaced(
    name: str,
    device: Any,
    *,
    tied: bool,
    taking: Callable[..., Kind],
    relative: Callable[[Any, Any], float],
) -> None:
    kind = taking(name, torch.nn.Linear(64, 64, device=device))
    model = Model(tied=tied).to(device).eval()
    tokens = torch.randint(0, 300, (3, 7), device=device)
    with torch.no_grad():
        wanted = model(tokens)
        done = quantize_(model, kind)
        got = model(tokens)
    assert done.replaced == FEED_FORWARD
    assert 0.0 < relative(got, wanted) <= 0.08
    assert "embedding" in done.skipped["unembed"]
    assert ("tied" in done.skipped["unembed"]) == tied
    assert "64 -> 8 is too small" in done.skipped["gate"]
    assert "MultiheadAttention takes its weight" in done.skipped["blocks.0.attn.out_proj"]
    assert len(done.skipped) == 4
    assert type(model.gate) is torch.nn.Linear


@pytest.mark.parametrize("name", NAMES)
def test_what_is_quantized_already_is_left_alone(name: str, taking: Callable[..., Kind]) -> None:
    model = Model()
    quantize_(model, taking(name))
    layers = [model.get_submodule(one) for one in FEED_FORWARD]
    again = quantize_(model, "qdoctor-switchback")
    assert again.replaced == ()
    assert [model.get_submodule(one) for one in FEED_FORWARD] == layers


def test_a_backend_is_taken_by_name_and_the_answer_is_told() -> None:
    done = quantize_(Model(), "qdoctor-switchback")
    assert isinstance(done, Replaced)
    lines = str(done).splitlines()
    assert lines[0] == "4 layers replaced"
    assert any(
        line.startswith("blocks.0.attn.out_proj and 1 more: left as it is") for line in lines
    )


def test_a_layer_in_two_places_stays_one() -> None:
    shared = torch.nn.Linear(64, 64)
    model = torch.nn.ModuleDict({"a": shared, "b": torch.nn.Sequential(shared)})
    done = quantize_(model, "qdoctor-switchback")
    assert done.replaced == ("a", "b.0")
    assert model["a"] is model["b"][0]


def test_layers_on_several_devices_are_each_judged_there() -> None:
    model = torch.nn.Sequential(
        torch.nn.Linear(64, 64), torch.nn.Linear(64, 64, device="meta"), torch.nn.Linear(64, 64)
    )
    done = quantize_(model, "qdoctor-switchback")
    assert done.replaced == ("0", "2")
    assert "meta device" in done.skipped["1"]


def test_nothing_to_do_is_none() -> None:
    assert quantize_(torch.nn.Sequential(torch.nn.ReLU()), "half").replaced == ()
    done = quantize_(Model().bfloat16(), "half")
    assert done.replaced == ()
    assert done.skipped["blocks.0.c_fc"] == "its weight is torch.bfloat16 already"


@given(
    sizes=st.lists(st.sampled_from([3, 31, 32, 33, 48, 64]), min_size=2, max_size=6),
    bias=st.booleans(),
    patterns=st.lists(st.sampled_from(["0", "1", "2", "[01]", "*"]), max_size=2),
)
@settings(max_examples=40)
def test_every_layer_is_told_of_once_and_the_shapes_stay(
    sizes: list[int], patterns: list[str], *, bias: bool
) -> None:
    pairs = list(itertools.pairwise(sizes))
    model = torch.nn.Sequential(*[torch.nn.Linear(*pair, bias=bias) for pair in pairs]).eval()
    x = torch.randn(4, sizes[0])
    wanted = model(x)
    names = [name for name in patterns if name in {"[01]", "*"} or int(name) < len(pairs)]
    done = quantize_(model, "half", include=names or None)
    assert sorted([*done.replaced, *done.skipped]) == [str(i) for i in range(len(pairs))]
    assert torch.allclose(model(x), wanted, atol=0.1)
    for name in done.skipped:
        assert type(model[int(name)]) is torch.nn.Linear


def test_old_weights_are_freed_one_by_one() -> None:
    model = torch.nn.Sequential(*[torch.nn.Linear(64, 64) for _ in range(4)])
    weights = [weakref.ref(layer.weight) for layer in model]
    alive: list[int] = []

    class Watching(type(named("qdoctor-switchback"))):
        def replaced(self, linear: Any, *, training: bool = False) -> Any:
            gc.collect()
            alive.append(sum(weight() is not None for weight in weights))
            return super().replaced(linear, training=training)

    quantize_(model, Watching())
    assert alive == [4, 3, 2, 1]


@pytest.mark.parametrize("wrong", [3, None, "model", torch.zeros(3), torch.nn.Linear])
def test_what_is_not_a_model_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"takes a torch\.nn\.Module"):
        quantize_(wrong, "half")


def test_a_single_layer_cannot_be_replaced_in_place() -> None:
    with pytest.raises(TypeError, match=r"a linear layer itself: take backend\.linear"):
        quantize_(torch.nn.Linear(64, 64), "half")


def test_nothing_that_works_here_is_an_error_and_changes_nothing() -> None:
    model = Model().to("meta")
    with pytest.raises(BackendUnavailable, match=r"none of the 4 layers .* meta device"):
        quantize_(model, "half")
    assert all(type(model.get_submodule(one)) is torch.nn.Linear for one in FEED_FORWARD)


def test_a_backend_for_gpus_refuses_a_model_on_the_cpu() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(64, 64))
    with pytest.raises(BackendUnavailable, match="CUDA GPUs only and the layer is on cpu"):
        quantize_(model, BnbSwitchback(torch.nn.Linear))
    assert type(model[0]) is torch.nn.Linear


class Breaking(Kind):
    """Fails at its third layer."""

    name = "breaking"
    count = 0

    def replaced(self, linear: Any, *, training: bool = False) -> Any:
        self.count += 1
        if self.count == 3:
            raise RuntimeError("out of luck\nand more")
        return named("qdoctor-switchback").replaced(linear, training=training)


def test_a_failure_half_way_says_what_was_done_and_leaves_a_model_that_works() -> None:
    model = Model().eval()
    tokens = torch.zeros(1, 3, dtype=torch.long)
    before = model(tokens)
    with pytest.raises(QuantizingFailed, match="out of luck") as caught:
        quantize_(model, Breaking())
    text = str(caught.value)
    assert "failed at blocks.1.c_fc (RuntimeError: out of luck)" in text
    assert "2 of 4 layers are replaced (blocks.0.c_fc to blocks.0.c_proj)" in text
    assert caught.value.done.replaced == FEED_FORWARD[:2]
    assert type(model.blocks[1].c_fc) is torch.nn.Linear
    assert torch.allclose(model(tokens), before, atol=0.2)
