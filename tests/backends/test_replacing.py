"""``quantize_`` on real torch models: what is replaced, what is left alone, what goes wrong."""

# ruff: noqa: ANN401 - torch is untyped here
# mypy: disable-error-code="misc, name-defined"

from __future__ import annotations

import copy
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OURS = ("qdoctor-switchback", "torch-fp8")
NAMES = ("half", "bnb-int8", "bnb-nf4", "bnb-fp4", *OURS)


class Block(torch.nn.Module):
    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.ln = torch.nn.LayerNorm(width)
        self.attn = torch.nn.MultiheadAttention(width, 4, batch_first=True)
        self.c_fc = torch.nn.Linear(width, 4 * width)
        self.c_proj = torch.nn.Linear(4 * width, width)

    def forward(self, x: Any) -> Any:
        h = self.ln(x)
        x = x + self.attn(h, h, h, need_weights=False)[0]
        return x + self.c_proj(torch.nn.functional.gelu(self.c_fc(x)))


class Model(torch.nn.Module):
    def __init__(self, *, tied: bool = False) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(300, 64)
        self.blocks = torch.nn.Sequential(Block(), Block())
        self.gate = torch.nn.Linear(64, 8)
        self.unembed = torch.nn.Linear(64, 300, bias=False)
        if tied:
            self.unembed.weight = self.embedding.weight

    def forward(self, tokens: Any) -> Any:
        return self.unembed(self.blocks(self.embedding(tokens)))


FEED_FORWARD = ("blocks.0.c_fc", "blocks.0.c_proj", "blocks.1.c_fc", "blocks.1.c_proj")


def kind_of(name: str, device: Any = "cpu") -> Kind:
    if name.startswith("bnb"):
        pytest.importorskip("bitsandbytes")
    kind = named(name)
    reason = kind.why_not(torch.nn.Linear(64, 64, device=device))
    if reason:
        pytest.skip(reason)
    return kind


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tied", [False, True])
def test_the_right_layers_of_a_model_are_replaced(
    name: str, device: Any, *, tied: bool, relative: Callable[[Any, Any], float]
) -> None:
    kind = kind_of(name, device)
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
def test_what_is_quantized_already_is_left_alone(name: str) -> None:
    model = Model()
    quantize_(model, kind_of(name))
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


def test_include_and_skip() -> None:
    done = quantize_(Model(), "half", include=["c_fc"], skip="blocks.1")
    assert done.replaced == ("blocks.0.c_fc",)
    assert done.skipped["blocks.1.c_fc"] == "listed in skip (blocks.1)"
    assert done.skipped["blocks.0.c_proj"] == "not named by include"


def test_naming_a_layer_outright_outweighs_its_size_and_its_place() -> None:
    model = Model()
    assert quantize_(model, "half", include=["gate", "unembed"]).replaced == ("gate", "unembed")
    assert quantize_(Model(), "half", include=["g*", "u*"]).replaced == ()
    tied = quantize_(Model(tied=True), "half", include=["unembed"])
    assert "tied" in tied.skipped["unembed"]


def test_an_include_that_means_nothing_names_what_is_near() -> None:
    model = Model()
    with pytest.raises(ValueError, match=r"include='c_fcc' names no linear layer; did you mean"):
        quantize_(model, "half", include=["c_fc", "c_fcc"])
    with pytest.raises(ValueError, match=r"names no linear layer; there are gate, unembed, c_fc"):
        quantize_(model, "half", include=["zzz"])
    assert type(model.blocks[0].c_fc) is torch.nn.Linear


def test_a_skip_that_means_nothing_is_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"skip='lm_haed' names no module of this model"):
        quantize_(Model(), "half", skip=["lm_haed"])


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


def test_nothing_to_do_is_none() -> None:
    assert quantize_(torch.nn.Sequential(torch.nn.ReLU()), "half").replaced == ()
    done = quantize_(Model().bfloat16(), "half")
    assert done.replaced == ()
    assert done.skipped["blocks.0.c_fc"] == "its weight is torch.bfloat16 already"


@pytest.mark.parametrize("name", OURS)
def test_hooks_stay_and_can_be_removed(name: str) -> None:
    model = Model()
    seen: list[str] = []
    layer = model.blocks[0].c_fc
    handles = [
        layer.register_forward_hook(lambda *_: seen.append("forward")),
        layer.register_forward_pre_hook(lambda *_, **__: seen.append("before"), with_kwargs=True),
        layer.register_full_backward_hook(lambda *_: seen.append("backward")),
    ]
    del layer
    quantize_(model, kind_of(name))
    model(torch.zeros(1, 2, dtype=torch.long)).sum().backward()
    assert seen == ["before", "forward", "backward"]
    for handle in handles:
        handle.remove()
    model(torch.zeros(1, 2, dtype=torch.long)).sum().backward()
    assert len(seen) == 3


@pytest.mark.parametrize("name", NAMES)
def test_modes_devices_and_old_dtypes_stay(name: str, device: Any) -> None:
    kind = kind_of(name, device)
    model = torch.nn.Sequential(
        torch.nn.Linear(64, 64, device=device), torch.nn.Linear(64, 64, device=device)
    )
    model[0].eval()
    quantize_(model, kind)
    assert not model[0].training
    assert model.training
    if name != "half":  # whose weight tells it
        assert [one.int8_original_dtype for one in model] == [torch.float32] * 2
        model.half()
        assert [one.int8_original_dtype for one in model] == [torch.float16] * 2
    assert all(tensor.device.type == device.type for tensor in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_what_is_made_in_inference_mode_serves_elsewhere(name: str) -> None:
    kind = kind_of(name)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64))
    with torch.inference_mode():
        quantize_(model, kind)
        single = kind.linear(64, 64)
        model(torch.randn(2, 64))
    x = torch.randn(2, 64, requires_grad=True)
    (model(x) + single(x)).sum().backward()
    assert float(x.grad.abs().sum()) > 0.0


def test_layers_on_several_devices_are_each_judged_there() -> None:
    model = torch.nn.Sequential(
        torch.nn.Linear(64, 64), torch.nn.Linear(64, 64, device="meta"), torch.nn.Linear(64, 64)
    )
    done = quantize_(model, "qdoctor-switchback")
    assert done.replaced == ("0", "2")
    assert "meta device" in done.skipped["1"]


def test_a_backend_for_gpus_refuses_a_model_on_the_cpu() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(64, 64))
    with pytest.raises(BackendUnavailable, match="CUDA GPUs only and the layer is on cpu"):
        quantize_(model, BnbSwitchback(torch.nn.Linear))
    assert type(model[0]) is torch.nn.Linear


def test_a_model_that_was_compiled_is_compiled_anew() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(64, 64)).eval()
    compiled = torch.compile(model, backend="eager")
    x = torch.randn(4, 64)
    with torch.no_grad():
        wanted = compiled(x)
        assert quantize_(compiled, "qdoctor-switchback").replaced == ("_orig_mod.0",)
        assert 0.0 < float((compiled(x) - wanted).norm() / wanted.norm()) <= 0.02


@pytest.fixture
def _one_process(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    distributed = pytest.importorskip("torch.distributed")
    if not distributed.is_available() or not distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("_one_process")
def test_a_model_that_is_wrapped_for_training_is_refused() -> None:
    wrapped = torch.nn.parallel.DistributedDataParallel(
        torch.nn.Sequential(torch.nn.Linear(64, 64))
    )
    with pytest.raises(ValueError, match="quantize the model first, then wrap it"):
        quantize_(wrapped, "half")
    with pytest.raises(ValueError, match="part is a DistributedDataParallel"):
        quantize_(torch.nn.ModuleDict({"part": wrapped}), "half")


@pytest.mark.filterwarnings("ignore")  # FSDP has much to say of a single process on a CPU
@pytest.mark.usefixtures("_one_process")
@pytest.mark.parametrize("original", [False, True])
def test_a_model_that_is_sharded_flat_is_refused(*, original: bool) -> None:
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    wrapped = fsdp.FullyShardedDataParallel(
        torch.nn.Sequential(torch.nn.Linear(64, 64)),
        use_orig_params=original,
        device_id=torch.device("cpu"),
    )
    with pytest.raises(ValueError, match="is a FullyShardedDataParallel"):
        quantize_(wrapped, "half")


@pytest.mark.usefixtures("_one_process")
def test_sharded_weights_are_left_alone() -> None:
    tensors = pytest.importorskip("torch.distributed.tensor")
    mesh = pytest.importorskip("torch.distributed.device_mesh").init_device_mesh("cpu", (1,))
    sharded, plain = torch.nn.Linear(64, 64), torch.nn.Linear(64, 64)
    spread = tensors.distribute_tensor(sharded.weight.detach(), mesh, [tensors.Shard(0)])
    sharded.weight = torch.nn.Parameter(spread)
    done = quantize_(torch.nn.ModuleDict({"sharded": sharded, "plain": plain}), "half")
    assert done.replaced == ("plain",)
    assert "DTensor" in done.skipped["sharded"]


def test_a_layer_in_two_places_stays_one() -> None:
    shared = torch.nn.Linear(64, 64)
    model = torch.nn.ModuleDict({"a": shared, "b": torch.nn.Sequential(shared)})
    done = quantize_(model, "qdoctor-switchback")
    assert done.replaced == ("a", "b.0")
    assert model["a"] is model["b"][0]


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


@pytest.mark.parametrize("name", NAMES)
def test_torch_s_own_encoder_runs_its_replaced_layers(
    name: str, relative: Callable[[Any, Any], float]
) -> None:
    kind = kind_of(name)
    layer = torch.nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    x = torch.randn(2, 5, 64)
    with torch.no_grad():
        wanted = encoder(x)
        done = quantize_(encoder, kind)
        assert len(done.replaced) == 4
        assert "fused path" in done.notes["layers.0"]
        used: list[bool] = []
        encoder.layers[1].linear1.register_forward_pre_hook(lambda *_: used.append(True))
        got = encoder(x)
    assert used == [True]
    assert 0.0 < relative(got, wanted) <= 0.1


def test_without_hooks_the_fused_path_is_not_taken(relative: Callable[[Any, Any], float]) -> None:
    """A hook switches it off by itself, so nothing is hooked here: the int8 error shows the way."""
    layer = torch.nn.TransformerEncoderLayer(64, 4, 128, batch_first=True).eval()
    x = torch.randn(2, 5, 64)
    with torch.no_grad():
        wanted = layer(x)
        quantize_(layer, "qdoctor-switchback")
        assert 1e-4 < relative(layer(x), wanted) <= 0.05


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_an_encoder_does_not_nest_its_input_any_more() -> None:
    layer = torch.nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    encoder = torch.nn.TransformerEncoder(layer, 2).eval()
    padding = torch.tensor([[False, False, True], [False, False, False]])
    x = torch.randn(2, 3, 64)
    with torch.no_grad():
        wanted = encoder(x, src_key_padding_mask=padding)
        quantize_(encoder, "qdoctor-switchback", include=["layers.0.linear1"])
        got = encoder(x, src_key_padding_mask=padding)
    assert torch.allclose(got[~padding], wanted[~padding], atol=0.1)


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
def test_a_compiled_model_computes_the_same(name: str) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU()).eval()
    quantize_(model, kind_of(name))
    x = torch.randn(8, 64)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        assert torch.allclose(compiled(x), model(x), atol=1e-5)


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
