"""torchao's formats as layers: what is computed, kept, moved and refused."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import copy
import io
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchao")

from qdoctor import backends  # noqa: E402 - torch first
from qdoctor.backends.replacing import quantize_  # noqa: E402
from qdoctor.backends.torchao_layers import TorchAoLinear, written_out  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore")
"""torchao warns of its own deprecations at import and in use; pytest would fail for them."""


class Promise(NamedTuple):
    """A format's bounds on Gaussian data, and the bytes that it keeps for a weight."""

    error: float
    gradient: float
    bytes: float


PROMISES = {
    "torchao-int8": Promise(0.015, 0.011, 1.0),
    "torchao-fp8": Promise(0.045, 0.03, 1.0),
    "torchao-int4": Promise(0.115, 0.115, 0.5),
    "torchao-mxfp4": Promise(0.18, 0.13, 0.5),
    "torchao-nvfp4": Promise(0.15, 0.11, 0.5),
}
DTYPES = ("bfloat16", "float16", "float32")
each_backend = pytest.mark.parametrize("name", PROMISES)


@pytest.fixture
def kind(name: str, device: Any, taking: Callable[..., backends.Kind]) -> backends.Kind:
    try:
        return taking(name, torch.nn.Linear(1024, 128, device=device))
    except backends.BackendUnavailable as error:
        pytest.skip(str(error))


@each_backend
@pytest.mark.parametrize("dtype", DTYPES)
def test_output_and_gradients_are_those_of_the_layer(  # noqa: PLR0913, PLR0917 - one case
    kind: backends.Kind,
    device: Any,
    name: str,
    dtype: str,
    gaussian: Callable[..., Any],
    relative: Callable[[Any, Any], float],
) -> None:
    linear = gaussian(2048, 256, device, getattr(torch, dtype))
    layer = kind.replaced(linear)
    x = torch.randn(3, 24, 2048, device=device, dtype=linear.weight.dtype, requires_grad=True)
    y = layer(x)
    grad = torch.randn_like(y)
    y.backward(grad)
    exact = [t.detach().double() for t in (x, linear.weight, linear.bias)]
    promise = PROMISES[name]
    assert 0.004 < relative(y, torch.nn.functional.linear(*exact)) <= promise.error
    assert relative(x.grad, grad.double() @ exact[1]) <= promise.gradient
    assert relative(layer.bias.grad, grad.double().sum((0, 1))) <= 0.01
    assert (y.dtype, x.grad.dtype) == (x.dtype, x.dtype)
    kept = kind.weight_bytes(layer) / linear.weight.numel()
    assert promise.bytes < kept <= promise.bytes * 1.13
    assert linear.weight.dtype == getattr(torch, dtype)
    assert type(linear.weight) is torch.nn.Parameter


@each_backend
def test_any_input_that_a_linear_layer_takes(
    kind: backends.Kind, device: Any, gaussian: Callable[..., Any]
) -> None:
    layer = kind.replaced(gaussian(1024, 128, device, torch.bfloat16))
    with torch.no_grad():
        for shape in ((1024,), (1, 1024), (2, 3, 4, 1024), (0, 1024)):
            x = torch.randn(shape, device=device, dtype=torch.bfloat16)
            assert layer(x).shape == (*shape[:-1], 128)
        strided = torch.randn(1024, 40, device=device, dtype=torch.bfloat16).t()
        assert torch.equal(layer(strided), layer(strided.contiguous()))
        with torch.autocast(device.type, torch.bfloat16):
            assert layer(torch.randn(2, 1024, device=device)).dtype == torch.bfloat16
    with pytest.raises(RuntimeError, match=r"takes \(..., 1024\), not \(2, 77\)"):
        layer(torch.randn(2, 77, device=device, dtype=torch.bfloat16))


@each_backend
def test_a_cast_or_moved_module_keeps_its_weight(
    kind: backends.Kind,
    device: Any,
    gaussian: Callable[..., Any],
    relative: Callable[[Any, Any], float],
) -> None:
    layer = kind.replaced(gaussian(1024, 128, device, torch.bfloat16))
    x = torch.randn(32, 1024, device=device, dtype=torch.bfloat16)
    with torch.no_grad():
        before = layer(x)
        cast = copy.deepcopy(layer).half()
        assert cast.weight.data is not layer.weight.data
        assert (cast.bias.dtype, cast.compute_dtype) == (torch.float16, torch.bfloat16)
        assert relative(cast(x), before) <= 0.001  # the bias is rounded to fp16
        assert torch.equal(copy.deepcopy(layer)(x), before)
        assert torch.equal(layer.float().bfloat16()(x), before)
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]


@each_backend
def test_a_state_is_saved_and_loaded(
    kind: backends.Kind, device: Any, gaussian: Callable[..., Any]
) -> None:
    layer = kind.replaced(gaussian(1024, 128, device, torch.bfloat16))
    other = kind.replaced(gaussian(1024, 128, device, torch.bfloat16))
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    x = torch.randn(32, 1024, device=device, dtype=torch.bfloat16)
    with torch.no_grad():
        assert torch.equal(other(x), layer(x))
    plain = gaussian(1024, 128, device, torch.bfloat16).state_dict()
    with pytest.raises(RuntimeError, match=r"weight is a Tensor of \(128, 1024\), where"):
        other.load_state_dict(plain)
    bias = {"bias": plain["bias"]}
    assert other.load_state_dict(bias, strict=False).missing_keys == ["weight"]


@each_backend
def test_a_model_is_quantized_where_it_can_be(kind: backends.Kind, device: Any) -> None:
    model = torch.nn.Sequential(
        torch.nn.Linear(1024, 256), torch.nn.GELU(), torch.nn.Linear(256, 77)
    ).to(device)
    if not kind.why_not(model[2]):
        pytest.skip("this format takes any shape here")
    done = quantize_(model, kind)
    assert done.replaced == ("0",)
    assert "whole" in done.skipped["2"]
    assert isinstance(model[0], TorchAoLinear)
    assert "weight=" in repr(model[0])
    assert model(torch.randn(4, 1024, device=device)).shape == (4, 77)


@each_backend
def test_what_would_be_lost_or_left_alone_is_refused(
    kind: backends.Kind, name: str, device: Any
) -> None:
    wide = torch.nn.Linear(1024, 128, device=device, dtype=torch.float64)
    assert "float64" in kind.why_not(wide)
    if name == "torchao-int8":
        return
    assert "in_features of whole" in kind.why_not(torch.nn.Linear(1000, 128, device=device))
    assert "cannot train" in kind.why_not(torch.nn.Linear(1024, 128, device=device), training=True)


def test_a_depth_that_is_no_whole_number_of_128_takes_smaller_groups(
    gaussian: Callable[..., Any],
) -> None:
    kind = backends.named("torchao-int4")
    if kind.why_not(gaussian(1024, 128)):
        pytest.skip("no int4 on this CPU")
    sizes = [kind.weight_bytes(kind.replaced(gaussian(depth, 128))) for depth in (256, 192, 160)]
    per_weight = [size / (depth * 128) for size, depth in zip(sizes, (256, 192, 160), strict=True)]
    assert per_weight == [0.5 + 4 / group for group in (128, 64, 32)]


def test_a_weight_is_written_out_in_blocks(
    gaussian: Callable[..., Any],
    relative: Callable[[Any, Any], float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from qdoctor.backends import torchao_layers  # noqa: PLC0415 - patched

    monkeypatch.setattr(torchao_layers, "BLOCK", 100)
    linear = gaussian(264, 64)
    layer = backends.named("torchao-int8").replaced(linear)
    kept = written_out(layer.weight, torch.empty(0, dtype=torch.bfloat16))
    assert kept.shape == linear.weight.shape
    assert relative(kept, linear.weight) <= 0.011


@pytest.mark.parametrize("shape", [(64, 96), (1, 96), (96,), (0, 96), (2, 3, 96)])
def test_int8_trains_by_int8_products(
    shape: tuple[int, ...],
    device: Any,
    taking: Callable[..., backends.Kind],
    relative: Callable[[Any, Any], float],
) -> None:
    linear = torch.nn.Linear(96, 64, device=device)
    layer = taking("torchao-int8", linear, training=True).replaced(linear, training=True)
    x = torch.randn(shape, device=device, requires_grad=True)
    y = layer(x)
    grad = torch.randn_like(y)
    y.backward(grad)
    wanted = torch.nn.functional.linear(*(t.detach().double() for t in (x, *linear.parameters())))
    assert relative(y, wanted) <= 0.02
    assert relative(x.grad, grad.double() @ linear.weight.detach().double()) <= 0.03
    if x.numel():
        assert relative(y, wanted) > 0.001  # it did go through int8
        flat = grad.reshape(-1, 64).double().t() @ x.detach().reshape(-1, 96).double()
        assert relative(layer.weight.grad, flat) <= 0.03
    assert layer.weight.dtype == torch.float32
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    before = layer.weight.detach().clone()
    optimizer.step()
    assert torch.equal(layer.weight, before) == (not x.numel())


def test_the_process_stays_as_its_owner_set_it_up(gaussian: Callable[..., Any]) -> None:
    config = pytest.importorskip("torch._inductor.config")
    before = (torch.get_float32_matmul_precision(), config.coordinate_descent_tuning)
    backends.named("torchao-int8").replaced(gaussian(256, 64))
    assert (torch.get_float32_matmul_precision(), config.coordinate_descent_tuning) == before


@pytest.mark.parametrize("name", ["torchao-int8", "torchao-int4"])
def test_transformers_loads_a_model_by_torchaos_own_configuration(
    name: str, tmp_path: Path, relative: Callable[[Any, Any], float]
) -> None:
    transformers = pytest.importorskip("transformers")
    kind = backends.named(name)
    if kind.why_not(torch.nn.Linear(256, 64)):
        pytest.skip(f"no {name} on this CPU")
    small = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2}
    config = transformers.LlamaConfig(**small, num_attention_heads=4, vocab_size=128)
    torch.manual_seed(3)
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16).eval()
    model.save_pretrained(tmp_path)
    try:
        asked = kind.transformers_config(["lm_head", "o_proj"])
    except backends.BackendUnavailable as error:
        assert transformers.__version__ in str(error)  # noqa: PT017 - an older one says so
        return
    loaded = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, quantization_config=asked, dtype=torch.bfloat16, device_map="cpu"
    )
    layer = loaded.model.layers[1]
    assert hasattr(layer.mlp.up_proj.weight, "__tensor_flatten__")
    assert not hasattr(layer.self_attn.o_proj.weight, "__tensor_flatten__")
    assert not hasattr(loaded.lm_head.weight, "__tensor_flatten__")
    ids = torch.randint(0, 128, (2, 16))
    with torch.no_grad():
        assert 0.001 < relative(loaded(ids).logits, model(ids).logits) < 0.35
