"""What every backend's layer owes to whoever replaces a torch.nn.Linear by it."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("bitsandbytes")

from qdoctor import backends  # noqa: E402 - torch first
from qdoctor.backends.replacing import quantize_  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable


class Promise(NamedTuple):
    """A backend's bounds on Gaussian data, and the bytes that it keeps for a weight."""

    error: float
    gradient: float
    bytes: float


# The error of one operand in e4m3 is 0.026, of both 0.037; of int8 rows 0.008 and 0.012; a few
# hundred outputs scatter around that.
PROMISES = {
    "half": Promise(0.004, 0.004, 2.0),
    "bnb-int8": Promise(0.016, 0.011, 1.0),
    "bnb-nf4": Promise(0.11, 0.11, 0.5),
    "bnb-fp4": Promise(0.14, 0.14, 0.5),
    "qdoctor-switchback": Promise(0.016, 0.016, 1.0),
    "torch-fp8": Promise(0.042, 0.033, 1.0),
}
DTYPES = ("bfloat16", "float16", "float32")


def replaced(kind: backends.Kind, linear: Any) -> Any:
    """Replace a layer; where this release refuses its shape, skip with what it says."""
    reason = kind.why_not(linear)
    if reason:
        pytest.skip(reason)
    return kind.replaced(linear)


each_backend = pytest.mark.parametrize("name", PROMISES)
# bitsandbytes 0.50.2 warns on GPUs that its fast 4-bit product needs in_features in blocks of 64;
# what it does then is what these tests ask about.
unaligned = pytest.mark.filterwarnings("ignore:inner dimension .* is not aligned:UserWarning")


@pytest.fixture
def kind(name: str, device: Any, taking: Callable[..., backends.Kind]) -> backends.Kind:
    return taking(name, torch.nn.Linear(128, 128, device=device))


@each_backend
@unaligned
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("depth", "columns"), [(128, 96), (1000, 131), (77, 65)])
def test_output_and_gradient_are_those_of_the_layer(  # noqa: PLR0913, PLR0917 - one case
    kind: backends.Kind,
    device: Any,
    name: str,
    dtype: str,
    depth: int,
    columns: int,
    gaussian: Callable[..., Any],
    relative: Callable[[Any, Any], float],
) -> None:
    linear = gaussian(depth, columns, device, getattr(torch, dtype))
    layer = replaced(kind, linear)
    x = torch.randn(64, depth, device=device, dtype=linear.weight.dtype, requires_grad=True)
    grad = torch.randn(64, columns, device=device, dtype=linear.weight.dtype)
    y = layer(x)
    y.backward(grad)
    exact = [t.detach().double() for t in (x, linear.weight, linear.bias)]
    assert relative(y, torch.nn.functional.linear(*exact)) <= PROMISES[name].error
    assert relative(x.grad, grad.double() @ exact[1]) <= PROMISES[name].gradient
    assert (y.dtype, x.grad.dtype) == (x.dtype, x.dtype)
    if name != "half":  # it did go through fewer bits
        assert relative(y, torch.nn.functional.linear(*exact)) > 0.004


@each_backend
@unaligned
@pytest.mark.parametrize("grad", [False, True], ids=["inference", "gradient"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0), (2, 3), (2, 2, 3)], ids=str)
def test_any_number_of_axes(  # noqa: PLR0913 - one case
    kind: backends.Kind,
    device: Any,
    shape: tuple[int, ...],
    *,
    grad: bool,
    gaussian: Callable[..., Any],
    relative: Callable[[Any, Any], float],
) -> None:
    linear = gaussian(100, 65, device)
    layer = replaced(kind, linear)
    x = torch.randn(*shape, 100, device=device, requires_grad=grad)
    with torch.set_grad_enabled(grad):
        y = layer(x)
    assert y.shape == (*shape, 65)
    assert y.dtype == torch.float32
    assert relative(y, linear(x)) <= 0.3  # of a few outputs; a wrong axis would be 1.4
    if grad:
        y.sum().backward()
        assert x.grad.shape == x.shape


@each_backend
def test_the_linear_layer_stays_as_it_was(
    kind: backends.Kind, device: Any, gaussian: Callable[..., Any]
) -> None:
    linear = gaussian(192, 64, device, torch.bfloat16).train()
    before = copy.deepcopy(linear.state_dict())
    layer = kind.replaced(linear)
    layer.eval()(torch.randn(4, 192, device=device, dtype=torch.bfloat16))
    with torch.no_grad():
        layer.bias.add_(1.0)
    assert linear.training
    assert type(linear.weight) is torch.nn.Parameter
    assert linear.weight.dtype == torch.bfloat16
    assert all(torch.equal(linear.state_dict()[key], value) for key, value in before.items())


@each_backend
def test_weight_bytes_are_counted(
    kind: backends.Kind, name: str, device: Any, gaussian: Callable[..., Any]
) -> None:
    layer = kind.replaced(gaussian(256, 512, device, torch.bfloat16))
    promised = PROMISES[name].bytes
    for _ in range(2):  # before and after a forward
        per_weight = kind.weight_bytes(layer) / (256 * 512)
        assert promised <= per_weight <= promised + 4 / 64 + 0.02  # and a scale a block or row
        layer(torch.randn(3, 256, device=device, dtype=torch.bfloat16))


@each_backend
def test_copies_and_files_give_the_same(
    kind: backends.Kind, device: Any, gaussian: Callable[..., Any]
) -> None:
    layer = kind.replaced(gaussian(192, 64, device))
    x = torch.randn(5, 192, device=device)
    with torch.no_grad():
        early = copy.deepcopy(layer)
        y = layer(x)
        late = copy.deepcopy(layer)
        file = io.BytesIO()
        torch.save(layer, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        sent = pickle.loads(pickle.dumps(layer))  # noqa: S301 - made here
        assert all(torch.equal(one(x), y) for one in (early, late, loaded, sent))


@each_backend
@pytest.mark.parametrize("used", [False, True], ids=["new", "used"])
def test_a_state_dict_goes_into_another_layer(
    kind: backends.Kind, device: Any, *, used: bool, gaussian: Callable[..., Any]
) -> None:
    layer, other = (kind.replaced(gaussian(192, 64, device)) for _ in range(2))
    x = torch.randn(5, 192, device=device)
    with torch.no_grad():
        if used:
            layer(x), other(x)
        file = io.BytesIO()
        torch.save(layer.state_dict(), file)
        file.seek(0)
        before = other(x) if used else None
        other.load_state_dict(torch.load(file))
        assert before is None or not torch.equal(before, layer(x))
        assert torch.equal(other(x), layer(x))


@each_backend
@pytest.mark.parametrize("used", [False, True], ids=["new", "used"])
def test_a_state_dict_may_be_assigned(
    kind: backends.Kind, device: Any, *, used: bool, gaussian: Callable[..., Any]
) -> None:
    layer, other = (kind.replaced(gaussian(192, 64, device)) for _ in range(2))
    x = torch.randn(5, 192, device=device)
    with torch.no_grad():
        if used:
            layer(x), other(x)
        other.load_state_dict(layer.state_dict(), assign=True)
        assert torch.equal(other(x), layer(x))
        assert torch.equal(copy.deepcopy(other).to("cpu").to(device)(x), layer(x))


@each_backend
@pytest.mark.parametrize("used", [False, True], ids=["new", "used"])
@pytest.mark.parametrize("assign", [False, True], ids=["copied", "assigned"])
def test_weights_that_are_not_quantized_yet_are_when_they_are_loaded(  # noqa: PLR0913 - one case
    kind: backends.Kind,
    name: str,
    device: Any,
    *,
    used: bool,
    assign: bool,
    gaussian: Callable[..., Any],
    relative: Callable[[Any, Any], float],
) -> None:
    linear, layer = gaussian(192, 64, device), kind.replaced(gaussian(192, 64, device))
    x = torch.randn(32, 192, device=device)
    with torch.no_grad():
        if used:
            layer(x)
        layer.load_state_dict(copy.deepcopy(linear.state_dict()), assign=assign)
        assert relative(layer(x), linear(x)) <= PROMISES[name].error
        assert relative(copy.deepcopy(layer)(x), linear(x)) <= PROMISES[name].error
    with pytest.raises(RuntimeError, match="weight"):
        layer.load_state_dict(gaussian(64, 192).state_dict(), assign=assign)


@each_backend
@pytest.mark.parametrize("dtype", ["int64", "bool", "complex64"])
def test_what_is_not_floating_is_refused_as_a_linear_layer_refuses_it(
    kind: backends.Kind, device: Any, dtype: str, gaussian: Callable[..., Any]
) -> None:
    layer = kind.replaced(gaussian(192, 64, device))
    with pytest.raises(TypeError, match=f"takes floating-point input, not torch.{dtype}"):
        layer(torch.ones(5, 192, device=device, dtype=getattr(torch, dtype)))


@each_backend
def test_casting_a_model_changes_no_quantized_weight(
    kind: backends.Kind,
    name: str,
    device: Any,
    gaussian: Callable[..., Any],
    relative: Callable[[Any, Any], float],
) -> None:
    linear = gaussian(192, 64, device)
    model = torch.nn.Sequential(kind.replaced(linear))
    x = torch.randn(32, 192, device=device)
    with torch.no_grad():
        for dtype in (torch.float16, torch.bfloat16):
            model.to(dtype)
            y = model(x.to(dtype))
            assert y.dtype == dtype
            assert relative(y, linear(x)) <= PROMISES[name].error + 0.01


@each_backend
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_under_autocast_the_output_is_autocast_s(  # noqa: PLR0913, PLR0917 - one case
    kind: backends.Kind,
    name: str,
    device: Any,
    dtype: str,
    gaussian: Callable[..., Any],
    relative: Callable[[Any, Any], float],
) -> None:
    linear = gaussian(192, 64, device)
    layer = kind.replaced(linear)
    x = torch.randn(32, 192, device=device)
    with torch.no_grad(), torch.autocast(device.type, getattr(torch, dtype)):
        y = layer(x)
    assert y.dtype == getattr(torch, dtype)
    assert relative(y, linear(x)) <= PROMISES[name].error + 0.004  # x is rounded, too


@pytest.mark.parametrize("name", ["half", "bnb-int8", "qdoctor-switchback", "torch-fp8"])
def test_on_the_meta_device_a_layer_still_tells_shapes(
    name: str, gaussian: Callable[..., Any], taking: Callable[..., backends.Kind]
) -> None:
    layer = taking(name).replaced(gaussian(192, 64)).to("meta")
    x = torch.empty(2, 5, 192, device="meta", dtype=torch.bfloat16)
    with torch.no_grad():
        y = layer(x)
    assert (y.shape, y.dtype, y.device) == ((2, 5, 64), x.dtype, x.device)


@each_backend
def test_a_layer_is_made_as_a_linear_layer_is(kind: backends.Kind, device: Any) -> None:
    layer = kind.linear(192, 64, False, device=device, dtype=torch.bfloat16)  # noqa: FBT003
    assert layer.bias is None
    assert not layer.training
    x = torch.randn(5, 192, device=device, dtype=torch.bfloat16)
    assert layer(x).shape == (5, 64)
    assert kind.linear(192, 64, device=device).bias.device.type == device.type
    with pytest.raises(backends.BackendUnavailable, match="meta device"):
        kind.linear(192, 64, device="meta")


@each_backend
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize(("depth", "columns"), [(0, 64), (64, 0)])
def test_a_layer_without_weights_is_refused(
    kind: backends.Kind, device: Any, depth: int, columns: int
) -> None:
    assert "is empty" in kind.why_not(torch.nn.Linear(depth, columns, device=device))
    with pytest.raises(backends.BackendUnavailable, match=f"{depth} -> {columns}.* is empty"):
        kind.linear(depth, columns, device=device)


@each_backend
def test_torch_s_default_device_and_dtype_do_not_matter(
    kind: backends.Kind, device: Any, monkeypatch: pytest.MonkeyPatch, gaussian: Callable[..., Any]
) -> None:
    linear = gaussian(192, 64, device)
    monkeypatch.setattr("qdoctor.backends.trial._known", {})
    monkeypatch.setattr("qdoctor.backends.scaled_mm._ways", {})
    x = torch.randn(5, 192, device=device)
    try:
        torch.set_default_device("meta")
        torch.set_default_dtype(torch.bfloat16)
        assert not kind.why_not(linear)
        layer = kind.replaced(linear)
        with torch.no_grad():
            y = layer(x)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    assert (y.device, y.dtype) == (x.device, x.dtype)
    assert torch.equal(kind.replaced(linear)(x), y)


@each_backend
def test_training_is_offered_or_refused_in_words(
    kind: backends.Kind, device: Any, gaussian: Callable[..., Any]
) -> None:
    linear = gaussian(192, 64, device)
    reason = kind.why_not(linear, training=True)
    if "weight gradient has the relative error" in reason or "does not work on" in reason:
        pytest.skip(reason)  # found by a trial, and said
    assert bool(reason) is not kind.trainable
    if not kind.trainable:
        assert "PEFT" in reason
        with pytest.raises(backends.BackendUnavailable, match="PEFT"):
            quantize_(torch.nn.Sequential(linear), kind, training=True)
        return
    layer = kind.replaced(linear, training=True).train()
    x, grad = (torch.randn(64, size, device=device) for size in (192, 64))
    layer(x).backward(grad)
    wanted = grad.double().t() @ x.double()
    error = (layer.weight.grad.double() - wanted).norm() / wanted.norm()
    assert float(error) <= 0.02
    before = layer.weight.detach().clone()
    torch.optim.SGD(layer.parameters(), 0.1).step()
    assert not torch.equal(before, layer.weight)


@each_backend
def test_frozen_layers_pass_gradients_in_a_model_that_trains(
    kind: backends.Kind, device: Any, gaussian: Callable[..., Any]
) -> None:
    model = torch.nn.Sequential(
        torch.nn.Linear(192, 192, device=device), gaussian(192, 64, device)
    ).train()
    quantize_(model, kind, include="1")
    model(torch.randn(8, 192, device=device)).sum().backward()
    assert float(model[0].weight.grad.abs().sum()) > 0.0


@each_backend
def test_what_is_not_a_number_is_not_one_afterwards(
    kind: backends.Kind, device: Any, gaussian: Callable[..., Any]
) -> None:
    layer = kind.replaced(gaussian(128, 64, device))
    x = torch.randn(4, 128, device=device)
    x[1, 7] = float("nan")
    with torch.no_grad():
        y = layer(x)
    if kind.name != "bnb-int8":  # it takes such a column for an outlier, or loses it
        assert not torch.isfinite(y[1]).all()


@pytest.mark.parametrize("name", backends.NAMES)
def test_every_name_is_known_or_unavailable_in_words(name: str) -> None:
    try:
        kind = backends.named(name)
    except backends.BackendUnavailable as error:
        assert str(error).startswith(name)  # noqa: PT017 - either is right
    else:
        assert kind.name == name


def test_a_wrong_name_is_met_with_a_near_one() -> None:
    with pytest.raises(ValueError, match="did you mean 'bnb-nf4'"):
        backends.named("nf4")


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, qdoctor.backends; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
