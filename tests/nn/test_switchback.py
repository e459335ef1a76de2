"""SwitchBackLinear against float64, in every shape and type, and as torch's modules are used."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import copy
import inspect
import io
import pickle
import warnings
from typing import Any

import pytest

torch = pytest.importorskip("torch")
numpy = pytest.importorskip("numpy")

from qdoctor import nn  # noqa: E402 - torch first

KINDS = {
    "global": nn.SwitchBackLinearGlobal,
    "vector": nn.SwitchBackLinearVectorwise,
    "memory": nn.SwitchBackLinearGlobalMemEfficient,
}
BOUND = {"global": 0.02, "vector": 0.015, "memory": 0.02}
"""Relative error on Gaussian data; one scale for a whole weight is the coarser grid."""
ROUNDING = {"float16": 0.001, "bfloat16": 0.006, "float32": 1e-5}
"""What 16-bit sums and outputs may add; float32 goes without tensor cores' tf32 by default."""
SHAPES = ((64, 256), (1, 256), (17, 1000), (3, 5, 77), (2, 3, 4, 48), (77,), (40, 3))

each_kind = pytest.mark.parametrize("kind", KINDS)


def relative(got: Any, wanted: Any) -> float:
    with torch.no_grad():
        return float((got.double() - wanted).norm() / wanted.norm())


def both_ways(layer: Any, x: Any, grad: Any) -> tuple[Any, ...]:
    """Output and gradients of x, weight and bias: the layer's, then float64's."""
    x = x.detach().requires_grad_()
    y = layer(x)
    y.backward(grad)
    exact = [t.detach().double().requires_grad_() for t in (x, layer.weight, layer.bias)]
    wanted = torch.nn.functional.linear(*exact)
    wanted.backward(grad.double())
    ours = (y, x.grad, layer.weight.grad, layer.bias.grad)
    return ours, (wanted, *(t.grad for t in exact))


@each_kind
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_output_and_gradients_are_those_of_a_linear_layer(
    device: Any, kind: str, dtype: str, shape: tuple[int, ...]
) -> None:
    real = getattr(torch, dtype)
    layer = KINDS[kind](shape[-1], 130, device=device, dtype=real)
    x = torch.randn(shape, device=device, dtype=real)
    grad = torch.randn(*shape[:-1], 130, device=device, dtype=real)
    (y, gx, gw, gb), (wanted, wx, ww, wb) = both_ways(layer, x, grad)
    assert (y.dtype, y.shape) == (real, wanted.shape)
    assert (gx.dtype, gw.dtype, gb.dtype) == (real, real, real)
    assert relative(y, wanted) <= BOUND[kind] + ROUNDING[dtype]
    assert relative(gx, wx) <= BOUND[kind] + ROUNDING[dtype]
    assert relative(gb, wb) <= ROUNDING[dtype]
    # The weight's gradient never passes int8, but for the activations that were kept as int8.
    kept = BOUND[kind] if kind == "memory" else 0.0
    assert relative(gw, ww) <= kept + ROUNDING[dtype]
    if shape[-1] > 1:
        assert relative(y, wanted) > 0.001  # it did go through int8


@each_kind
def test_strides_do_not_matter(device: Any, kind: str) -> None:
    layer = KINDS[kind](48, 40, device=device)
    wide = torch.randn(6, 48, 5, device=device).transpose(1, 2)  # last axis not contiguous
    cut = torch.randn(30, 96, device=device)[:, ::2]
    for x in (wide, cut, torch.randn(1, 48, device=device).expand(9, 48)):
        assert not x.is_contiguous()
        assert torch.equal(layer(x), layer(x.contiguous()))
    x = torch.randn(7, 48, device=device, requires_grad=True)
    layer(x).sum().backward()  # its gradient is one number, expanded
    wanted = layer.weight.detach().double().sum(0).expand(7, 48)
    assert x.grad is not None
    assert relative(x.grad, wanted) <= BOUND[kind]


@each_kind
@pytest.mark.parametrize("shape", [(0, 16), (2, 0, 16), (0, 3, 16)], ids=str)
def test_an_empty_batch_passes_with_zero_gradients(device: Any, kind: str, shape: Any) -> None:
    layer = KINDS[kind](16, 8, device=device)
    x = torch.empty(shape, device=device, requires_grad=True)
    y = layer(x)
    assert y.shape == (*shape[:-1], 8)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == shape
    assert not layer.weight.grad.any()
    assert not layer.bias.grad.any()


@each_kind
def test_rows_of_zeros_give_the_bias(device: Any, kind: str) -> None:
    layer = KINDS[kind](16, 8, device=device)
    y = layer(torch.zeros(3, 16, device=device))
    assert torch.equal(y, layer.bias.expand(3, 8))
    torch.nn.init.zeros_(layer.weight)
    assert torch.equal(layer(torch.ones(3, 16, device=device)), y)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_what_is_not_finite_is_not_hidden(device: Any, value: float) -> None:
    layer = nn.SwitchBackLinearVectorwise(64, 8, device=device)
    x = torch.randn(4, 64, device=device)
    x[2, 5] = value
    finite = torch.isfinite(layer(x)).all(dim=1)
    assert finite.tolist() == [True, True, False, True]


def test_without_a_bias(device: Any) -> None:
    layer = nn.SwitchBackLinear(64, 24, bias=False, device=device)
    x = torch.randn(10, 64, device=device)
    assert relative(layer(x), x.double() @ layer.weight.double().t()) <= BOUND["global"]
    layer(x).sum().backward()


@each_kind
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_autocast(device: Any, kind: str, dtype: str) -> None:
    half = getattr(torch, dtype)
    layer = KINDS[kind](128, 64, device=device)
    x = torch.randn(32, 128, device=device, requires_grad=True)
    with torch.autocast(device.type, dtype=half):
        y = layer(x)
        assert layer(x.double().detach()).dtype == torch.float64  # as torch.nn.Linear's operands
    assert y.dtype == half
    y.backward(torch.randn_like(y))
    assert layer.weight.grad.dtype == torch.float32
    assert x.grad is not None
    assert x.grad.dtype == torch.float32
    wanted = torch.nn.functional.linear(x.double(), layer.weight.double(), layer.bias.double())
    assert relative(y.detach(), wanted.detach()) <= BOUND[kind] + ROUNDING[dtype]


def test_the_constructor_is_that_of_bitsandbytes() -> None:
    names = list(inspect.signature(nn.SwitchBackLinear.__init__).parameters)
    assert names[1:8] == [
        "in_features", "out_features", "bias", "device", "dtype",
        "vector_wise_quantization", "mem_efficient",
    ]  # fmt: skip
    assert isinstance(nn.SwitchBackLinear(4, 4), torch.nn.Linear)
    assert nn.SwitchBackLinearVectorwise(4, 4).vector_wise_quantization


@each_kind
def test_prepared_for_eval_it_computes_the_same_without_its_weight(device: Any, kind: str) -> None:
    layer = KINDS[kind](77, 40, device=device, dtype=torch.bfloat16).eval()
    x = torch.randn(3, 9, 77, device=device, dtype=torch.bfloat16)
    before = layer(x)
    absmax = layer.weight.detach().float().abs()
    layer.prepare_for_eval()
    layer.prepare_for_eval()
    assert torch.equal(layer(x), before)
    assert [name for name, _ in layer.named_parameters()] == ["bias"]
    assert (layer.W_int8.dtype, tuple(layer.W_int8.shape)) == (torch.int8, (40, 77))
    wanted = absmax.amax(dim=1) if kind == "vector" else absmax.amax().view(1)
    torch.testing.assert_close(layer.state_W, wanted)
    with pytest.raises(RuntimeError, match="prepared for eval"):
        layer.train()(x)


@each_kind
def test_prepared_the_input_still_gets_its_gradient(device: Any, kind: str) -> None:
    layer = KINDS[kind](96, 50, device=device).eval()
    weight = layer.weight.detach().double()
    layer.prepare_for_eval()
    x = torch.randn(20, 96, device=device, requires_grad=True)
    y = layer(x)
    grad = torch.randn_like(y)
    y.backward(grad)
    assert x.grad is not None
    assert relative(x.grad, grad.double() @ weight) <= BOUND[kind]
    torch.testing.assert_close(layer.bias.grad, grad.sum(0))


@each_kind
def test_casting_a_prepared_layer_keeps_its_scales_exact(device: Any, kind: str) -> None:
    layer = KINDS[kind](32, 16, device=device).eval()
    layer.prepare_for_eval()
    state = layer.state_W.clone()
    layer.half().to("cpu").to(device)
    assert layer.bias.dtype == torch.float16
    assert torch.equal(layer.state_W, state)


@each_kind
@pytest.mark.parametrize("assign", [False, True])
def test_a_state_dict_goes_round_prepared_and_not(device: Any, kind: str, *, assign: bool) -> None:
    x = torch.randn(6, 48, device=device)
    trained, prepared = (KINDS[kind](48, 20, device=device).eval() for _ in range(2))
    prepared.prepare_for_eval()
    for source in (trained, prepared):
        for target in (KINDS[kind](48, 20, device=device).eval(), copy.deepcopy(prepared)):
            stored = io.BytesIO()
            torch.save({"layer." + k: v for k, v in source.state_dict().items()}, stored)
            stored.seek(0)
            around = torch.nn.ModuleDict({"layer": target})
            around.load_state_dict(torch.load(stored, weights_only=True), assign=assign)
            assert target.prepared is source.prepared
            assert torch.equal(target(x), source(x))
    copied = pickle.loads(pickle.dumps(copy.deepcopy(prepared)))  # noqa: S301 - our own
    assert torch.equal(copied(x), prepared(x))


def test_prepared_weights_of_the_other_kind_are_refused() -> None:
    layer = nn.SwitchBackLinearVectorwise(8, 4)
    layer.prepare_for_eval()
    with pytest.raises(RuntimeError, match="state_W"):
        nn.SwitchBackLinearGlobal(8, 4).load_state_dict(layer.state_dict())


@pytest.fixture
def _forgetful_dynamo() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch, about torch
        torch._dynamo.reset()  # it counts what a function was compiled for across tests


@each_kind
@pytest.mark.usefixtures("_forgetful_dynamo")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # dynamo does
@pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores:UserWarning")  # inductor recommends
def test_it_compiles_without_a_graph_break(device: Any, kind: str) -> None:
    backend = "inductor" if device.type == "cuda" else "aot_eager"
    layer = KINDS[kind](64, 32, device=device)
    x = torch.randn(5, 64, device=device, requires_grad=True)
    compiled = torch.compile(layer, fullgraph=True, backend=backend)
    y = compiled(x)
    torch.testing.assert_close(y, layer(x))
    y.sum().backward()
    assert x.grad is not None
    got, x.grad = x.grad, None
    layer(x).sum().backward()
    torch.testing.assert_close(got, x.grad, rtol=1e-4, atol=1e-4)
    for rows in (6, 40, 1):
        more = torch.randn(rows, 64, device=device)
        torch.testing.assert_close(compiled(more), layer(more))
    with torch.autocast(device.type, dtype=torch.bfloat16):
        assert compiled(more).dtype == torch.bfloat16
    layer.eval().prepare_for_eval()
    torch.testing.assert_close(compiled(more), layer(more))


@pytest.mark.usefixtures("_forgetful_dynamo")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_it_compiles_with_a_fallback_too(device: Any) -> None:
    layer = nn.SwitchBackLinear(64, 32, device=device, fallback="half")
    x = torch.randn(5, 64, device=device)
    torch.testing.assert_close(
        torch.compile(layer, fullgraph=True, backend="aot_eager")(x), layer(x)
    )


def test_on_the_meta_device_it_has_shapes() -> None:
    layer = nn.SwitchBackLinear(16, 8, device="meta")
    assert layer(torch.empty(2, 3, 16, device="meta")).shape == (2, 3, 8)


def test_what_it_cannot_do_it_says() -> None:
    layer = nn.SwitchBackLinear(16, 8)
    with pytest.raises(RuntimeError, match=r"qdoctor.*\(\.\.\., 16\), not \(2, 5\)"):
        layer(torch.ones(2, 5))
    with pytest.raises(TypeError, match=r"qdoctor.*int64"):
        layer(torch.ones(2, 16, dtype=torch.int64))
    for wrong in (None, [1.0] * 16, numpy.ones((2, 16), numpy.float32)):
        with pytest.raises(TypeError, match=f"qdoctor.*takes a tensor, not {type(wrong).__name__}"):
            layer(wrong)
    with pytest.raises(RuntimeError, match=r"is on cpu, its input on meta"):
        layer(torch.ones(2, 16, device="meta"))
    with pytest.raises(ValueError, match="mem_efficient"):
        nn.SwitchBackLinear(4, 4, vector_wise_quantization=True, mem_efficient=True)
    with pytest.raises(ValueError, match="fallback"):
        nn.SwitchBackLinear(4, 4, fallback="float")  # type: ignore[arg-type]
    assert repr(layer).startswith("qdoctor.nn.SwitchBackLinear(in_features=16")


def test_a_second_derivative_is_refused_instead_of_wrong() -> None:
    layer = nn.SwitchBackLinear(16, 8)
    x = torch.randn(3, 16, requires_grad=True)
    (first,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@each_kind
def test_a_model_learns_with_it_as_with_linear(device: Any, kind: str) -> None:
    def loss_after_training(make: Any) -> float:
        torch.manual_seed(3)
        model = torch.nn.Sequential(make(32, 64), torch.nn.GELU(), make(64, 8)).to(device)
        x = torch.randn(256, 32, device=device)
        wanted = torch.tanh(x[:, :8] * 2 + x[:, 8:16])
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(60):
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(x), wanted)
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    plain = loss_after_training(torch.nn.Linear)
    assert loss_after_training(KINDS[kind]) <= 1.2 * plain
    assert plain < 0.1


# OpenCLIP's way with int8 layers: layers named c_fc and c_proj are replaced, then prepared.


def feed_forward(width: int) -> Any:
    """Make a transformer's feed-forward part, its layers named as OpenCLIP names them."""
    part = torch.nn.Sequential()
    part.add_module("c_fc", torch.nn.Linear(width, 4 * width))
    part.add_module("gelu", torch.nn.GELU())
    part.add_module("c_proj", torch.nn.Linear(4 * width, width))
    return part


def features(model: Any, x: Any) -> Any:
    for part in model:
        x = x + part(torch.nn.functional.layer_norm(x, x.shape[-1:]))
    return x


def replace_linear(model: Any, replacement: Any) -> None:
    for name, child in list(model.named_children()):
        replace_linear(child, replacement)
        if isinstance(child, torch.nn.Linear) and name in {"c_fc", "c_proj"}:
            new = replacement(child.in_features, child.out_features, child.bias is not None)
            new.weight.data.copy_(child.weight.data)
            new.bias.data.copy_(child.bias.data)
            setattr(model, name, new)


def convert_for_inference(model: Any) -> None:
    for module in model.modules():
        if hasattr(module, "prepare_for_eval"):
            original = module.weight.dtype
            module.prepare_for_eval()
            module.int8_original_dtype = original


@each_kind
def test_the_way_of_openclip(device: Any, kind: str) -> None:
    model = torch.nn.Sequential(*(feed_forward(64) for _ in range(4))).eval()
    x = torch.randn(2, 10, 64)
    with torch.no_grad():
        wanted = features(model, x).to(device)
        replace_linear(model, KINDS[kind])
        model = model.to(device).eval()
        convert_for_inference(model)
        got = features(model, x.to(device))
    assert sum("W_int8" in name for name in model.state_dict()) == 8
    assert model[0].c_fc.int8_original_dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(got, wanted, dim=-1).min() >= 0.999
