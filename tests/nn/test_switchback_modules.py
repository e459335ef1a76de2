"""SwitchBackLinear among torch's tools for modules: checkpointing, meta, export, failed loads."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import copy
import importlib
import io
import os
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from qdoctor import nn  # noqa: E402 - torch first
from qdoctor.nn import products  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KINDS = {
    "global": nn.SwitchBackLinearGlobal,
    "vector": nn.SwitchBackLinearVectorwise,
    "memory": nn.SwitchBackLinearGlobalMemEfficient,
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def ready(kind: str = "vector", size: tuple[int, int] = (16, 8), **more: Any) -> Any:
    layer = KINDS[kind](*size, **more).eval()
    layer.prepare_for_eval()
    return layer


# Gradients


@each_kind
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("prepared", [True, False])
def test_checkpointed_it_has_the_same_gradients(
    device: Any, kind: str, *, reentrant: bool, prepared: bool
) -> None:
    layer = ready(kind, device=device) if prepared else KINDS[kind](16, 8, device=device)
    x = torch.randn(3, 16, device=device, requires_grad=True)
    found = []
    for run in (
        layer,
        lambda x: torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=reentrant),
    ):
        layer.zero_grad()
        x.grad = None
        run(x).square().sum().backward()
        assert x.grad is not None
        found.append([x.grad, *(p.grad for p in layer.parameters())])
    for plain, checkpointed in zip(*found, strict=True):
        assert torch.equal(plain, checkpointed)


@each_kind
def test_only_what_is_asked_for_gets_a_gradient(device: Any, kind: str) -> None:
    x = torch.randn(2, 16, device=device)
    layer = KINDS[kind](16, 8, device=device)
    layer.weight.requires_grad_(requires_grad=False)
    layer(x).sum().backward()
    assert (layer.weight.grad is None, layer.bias.grad is None) == (True, False)
    layer = KINDS[kind](16, 8, device=device)
    layer.bias.requires_grad_(requires_grad=False)
    layer(x).sum().backward()
    assert (layer.weight.grad is None, layer.bias.grad is None) == (False, True)
    assert not layer.requires_grad_(requires_grad=False)(x).requires_grad
    (grad,) = torch.autograd.grad(layer(x.requires_grad_()).sum(), x)
    assert grad.shape == x.shape


@each_kind
def test_a_graph_that_is_kept_gives_its_gradients_again(device: Any, kind: str) -> None:
    layer = KINDS[kind](16, 8, device=device)
    y = layer(torch.randn(2, 16, device=device)).sum()
    y.backward(retain_graph=True)
    once = layer.weight.grad.clone()
    y.backward()
    assert torch.equal(layer.weight.grad, 2 * once)


def test_an_input_that_was_overwritten_is_refused_instead_of_used(device: Any) -> None:
    x = torch.randn(2, 16, device=device)
    y = nn.SwitchBackLinearVectorwise(16, 8, device=device)(x)
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@each_kind
def test_prepared_under_inference_mode_it_still_passes_gradients(device: Any, kind: str) -> None:
    layer = KINDS[kind](16, 8, device=device).eval()
    x = torch.randn(2, 16, device=device)
    with torch.inference_mode():
        before = layer(x)
        layer.prepare_for_eval()
        assert torch.equal(layer(x), before)
    x.requires_grad_()
    layer(x).sum().backward()
    assert x.grad is not None


# Its parameters, replaced, parametrized, shared


def test_it_runs_with_parameters_given_to_functional_call(device: Any) -> None:
    x = torch.ones(3, 16, device=device)
    layer = nn.SwitchBackLinearVectorwise(16, 8, device=device)
    doubled = {name: 2 * p.detach() for name, p in layer.named_parameters()}
    torch.testing.assert_close(torch.func.functional_call(layer, doubled, (x,)), 2 * layer(x))
    layer = ready(device=device, bias=False)
    scales = {"state_W": 2 * layer.state_W}
    torch.testing.assert_close(torch.func.functional_call(layer, scales, (x,)), 2 * layer(x))


def test_a_parametrized_weight_trains_and_is_not_prepared_by_accident(device: Any) -> None:
    layer = nn.SwitchBackLinearVectorwise(16, 8, bias=False, device=device)
    other = copy.deepcopy(layer)
    other.weight.data.relu_()
    x = torch.randn(3, 16, device=device)
    parametrize = torch.nn.utils.parametrize
    parametrize.register_parametrization(layer, "weight", torch.nn.ReLU())
    torch.testing.assert_close(layer(x), other(x))
    layer(x).sum().backward()
    with pytest.raises(RuntimeError, match=r"qdoctor.*remove_parametrizations"):
        layer.prepare_for_eval()
    parametrize.remove_parametrizations(layer, "weight")
    layer.eval().prepare_for_eval()
    torch.testing.assert_close(layer(x), other(x))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("how", ["weight_norm", "spectral_norm", "prune"])
def test_a_weight_that_a_hook_computes_is_not_prepared_by_accident(how: str) -> None:
    prune = importlib.import_module("torch.nn.utils.prune")
    layer = nn.SwitchBackLinear(16, 8)
    if how == "prune":
        prune.l1_unstructured(layer, "weight", amount=0.5)
    else:
        getattr(torch.nn.utils, how)(layer)
    x = torch.randn(3, 16)
    y = layer.eval()(x)
    with pytest.raises(RuntimeError, match=f"qdoctor.*{how}.*first"):
        layer.prepare_for_eval()
    assert torch.equal(layer(x), y)
    if how == "prune":
        prune.remove(layer, "weight")
    else:
        getattr(torch.nn.utils, f"remove_{how}")(layer)
    layer.prepare_for_eval()
    assert layer(x).shape == (3, 8)


def test_preparing_leaves_a_shared_weight_to_the_other_layer() -> None:
    layer, other = nn.SwitchBackLinear(16, 8).eval(), torch.nn.Linear(16, 8)
    other.weight = layer.weight
    before = other.weight.detach().clone()
    layer.prepare_for_eval()
    assert torch.equal(other.weight, before)


def written() -> dict[str, Callable[[Any], Any]]:
    """Ways in which code writes to a layer's weight."""

    def add_to_data(layer: Any) -> None:  # how PEFT merges an adapter
        layer.weight.data += 1

    def set_data(layer: Any) -> None:  # how it merges safely
        layer.weight.data = torch.zeros(8, 16)

    def set_rows(layer: Any) -> None:
        layer.weight[0] = 0

    def set_parameter(layer: Any) -> None:
        layer.weight = torch.nn.Parameter(torch.zeros(8, 16))

    def set_tensor(layer: Any) -> None:  # what torch.nn.Module would keep beside the int8 weight
        layer.weight = torch.zeros(8, 16)

    return {
        "a new parameter": set_parameter,
        "a tensor in its place": set_tensor,
        "+= to data": add_to_data,
        "data =": set_data,
        "[0] =": set_rows,
        "initialise": lambda layer: torch.nn.init.normal_(layer.weight),
        "data.copy_": lambda layer: layer.weight.data.copy_(torch.zeros(8, 16)),
        "out=": lambda layer: torch.add(layer.weight, 1, out=layer.weight),
        "reset_parameters": lambda layer: layer.reset_parameters(),
    }


@pytest.mark.parametrize("how", written())
def test_a_prepared_layers_weight_is_not_written_in_vain(how: str) -> None:
    layer, x = ready(), torch.randn(3, 16)
    before = layer(x)
    with pytest.raises(RuntimeError, match=r"^qdoctor.nn.SwitchBackLinear was prepared.*training"):
        written()[how](layer)
    assert torch.equal(layer(x), before)


@each_kind
def test_a_prepared_layers_weight_is_there_to_be_read(device: Any, kind: str) -> None:
    layer = KINDS[kind](16, 8, device=device, dtype=torch.bfloat16).eval()
    weight = layer.weight.detach().clone()
    layer.prepare_for_eval()
    seen = layer.weight
    assert isinstance(seen, torch.Tensor)
    assert not isinstance(seen, torch.nn.Parameter)
    assert (seen.shape, seen.dtype, seen.device) == (weight.shape, weight.dtype, weight.device)
    assert not seen.requires_grad_(requires_grad=False).requires_grad
    assert not (seen.data - weight).abs().max() > weight.abs().max() / 127
    for derived in (seen + 1, seen.t(), seen.detach(), copy.deepcopy(seen), seen.float()):
        assert type(derived) is torch.Tensor
    assert list(layer.state_dict()) == ["bias", "W_int8", "state_W"]
    kept = io.BytesIO()
    torch.save({"weight": seen}, kept)
    kept.seek(0)
    assert torch.equal(torch.load(kept, weights_only=True)["weight"], seen)
    with pytest.raises(AttributeError, match="no attribute 'wieght'"):
        _ = layer.wieght


def test_a_prepared_layer_remembers_the_dtype_its_neighbours_have() -> None:
    layer = ready(dtype=torch.bfloat16)
    assert layer.int8_original_dtype == torch.bfloat16
    assert copy.deepcopy(layer).half().int8_original_dtype == torch.float16
    assert copy.deepcopy(layer).to("meta").double().int8_original_dtype == torch.float64
    trained = nn.SwitchBackLinearVectorwise(16, 8)
    layer.load_state_dict(trained.state_dict())
    assert not hasattr(layer, "int8_original_dtype")


# Loading


@each_kind
def test_weights_arrive_through_the_meta_device(kind: str) -> None:
    source, x = ready(kind), torch.randn(2, 16)
    with torch.device("meta"):
        fresh, prepared = KINDS[kind](16, 8).eval(), ready(kind)
    assert (fresh.weight.is_meta, prepared.W_int8.is_meta) == (True, True)
    for target in (fresh, prepared):
        target.load_state_dict(source.state_dict(), assign=True)
        assert torch.equal(target(x), source(x))
    with torch.device("meta"):
        target = ready(kind)
    target.to_empty(device="cpu").load_state_dict(source.state_dict())
    assert torch.equal(target(x), source(x))


@pytest.mark.parametrize("assign", [False, True])
def test_scales_that_bitsandbytes_stored_in_16_bits_are_taken(*, assign: bool) -> None:
    source = ready()
    stored = {**source.state_dict(), "state_W": source.state_W.half()}
    target = nn.SwitchBackLinearVectorwise(16, 8).eval()
    target.load_state_dict(stored, assign=assign)
    assert target.state_W.dtype == torch.float32
    x = torch.randn(4, 16)
    torch.testing.assert_close(target(x), source(x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("assign", [True, False])
@pytest.mark.parametrize("prepared", [True, False])
def test_a_state_that_was_cast_as_a_whole_is_taken(*, assign: bool, prepared: bool) -> None:
    """With assign=True a W_int8 of 16 bits became the weight itself, without its scales."""
    source, x = ready(), torch.randn(2, 16)
    stored = {name: value.half() for name, value in source.state_dict().items()}
    target = ready() if prepared else nn.SwitchBackLinearVectorwise(16, 8).eval()
    target.load_state_dict(stored, assign=assign)
    assert torch.equal(target.W_int8, source.W_int8)
    assert target.W_int8.dtype == torch.int8
    assert torch.allclose(target(x), source(x), atol=0.01)
    before = target(x)
    stored["W_int8"] = stored["W_int8"] + 0.5
    with pytest.raises(RuntimeError, match="holds numbers that int8 does not"):
        target.load_state_dict(stored, assign=assign)
    assert torch.equal(target(x), before)


@pytest.mark.parametrize("strict", [True, False])
def test_weights_that_do_not_fit_leave_the_layer_as_it_was(*, strict: bool) -> None:
    x = torch.randn(2, 16)
    pairs = (
        (ready(), nn.SwitchBackLinearVectorwise(16, 9), r"weight of shape \(9, 16\) does not fit"),
        (nn.SwitchBackLinearVectorwise(16, 8).eval(), ready(size=(16, 9)), r"W_int8 \(9, 16\)"),
        (nn.SwitchBackLinearGlobal(16, 8).eval(), ready(), "vector_wise_quantization=False"),
    )
    for target, source, said in pairs:
        stored = {k: v for k, v in source.state_dict().items() if k != "bias"}
        prepared, before = target.prepared, target(x)
        with pytest.raises(RuntimeError, match=rf"qdoctor.nn.SwitchBackLinear: .*{said}"):
            target.load_state_dict(stored, strict=strict)
        assert target.prepared is prepared
        assert torch.equal(target(x), before)


def test_half_of_a_prepared_weight_is_not_one() -> None:
    source, target = ready(), nn.SwitchBackLinearVectorwise(16, 8)
    stored = source.state_dict()
    del stored["state_W"]
    with pytest.raises(RuntimeError, match=r'Missing key.*"weight"'):
        target.load_state_dict(stored)
    assert not target.prepared


# Graphs of it, and threads


@each_kind
@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, about its tracer
def test_it_is_exported_traced_and_saved_so(tmp_path: Path, kind: str, *, prepared: bool) -> None:
    layer = ready(kind) if prepared else KINDS[kind](16, 8)
    x, longer = torch.randn(2, 16), torch.randn(7, 16)
    rows = {"x": {0: torch.export.Dim("rows", min=1, max=64)}}
    with torch.no_grad():
        exported = torch.export.export(layer, (x,), dynamic_shapes=rows).module()
    torch.testing.assert_close(exported(longer), layer(longer))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(layer, x).save(str(tmp_path / "traced.pt"))
        traced = torch.jit.load(str(tmp_path / "traced.pt"))
    torch.testing.assert_close(traced(longer), layer(longer))


def test_threads_may_call_it_first_at_once(
    device: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    layer, x = ready(device=device), torch.randn(5, 16, device=device)
    monkeypatch.setattr(products, "_proved", {})  # as if nothing had been tried on the device
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(layer(x))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(torch.equal(y, found[0]) for y in found)
    os.write(2, b"heard\n")  # trying ways keeps native stderr back, and must give it back
    assert capfd.readouterr().err.endswith("heard\n")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_a_captured_graph_replays_it() -> None:
    layer = ready(size=(256, 128), device="cuda", dtype=torch.bfloat16)
    x = torch.randn(64, 256, device="cuda", dtype=torch.bfloat16)
    with torch.no_grad():
        layer(x)  # the device's way is found out before
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = layer(x)
        x.copy_(torch.randn_like(x))
        graph.replay()
        assert torch.equal(y, layer(x))
