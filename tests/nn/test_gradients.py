"""What the backward pass keeps, quantizes once, and how exact it is where weights are uneven."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from qdoctor import nn  # noqa: E402 - torch first
from qdoctor.nn import gradients, operators, quantizing  # noqa: E402

KINDS = {
    "global": nn.SwitchBackLinearGlobal,
    "vector": nn.SwitchBackLinearVectorwise,
    "memory": nn.SwitchBackLinearGlobalMemEfficient,
}
each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_a_weight_is_quantized_once_a_step(
    device: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = gradients._both_quantized, []

    def counted(x: Any, weight: Any, *rest: Any) -> Any:
        seen.append(weight.shape)
        return real(x, weight, *rest)

    monkeypatch.setattr(gradients, "_both_quantized", counted)
    monkeypatch.delattr(gradients, "quantize_whole")
    monkeypatch.delattr(gradients, "quantize_rows")
    layer = KINDS[kind](32, 24, device=device)
    x = torch.randn(5, 32, device=device, requires_grad=True)
    for step in range(1, 3):
        layer(x).sum().backward()
        assert len(seen) == step


class Steps:
    """Whole steps of training by plain torch; what is asked is noted."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def forward(self, x: Any, steps: float, weight: Any, *rest: Any) -> Any:
        bias, whole, kept = rest
        self.asked.append(("forward", tuple(x.shape), whole, kept))
        q, scale, *matrix = quantizing.quantize_two(x.flatten(0, -2), weight, steps, whole=whole)
        y = operators.int8_linear((q, scale), tuple(matrix), bias, x.dtype)
        return (y.view(*x.shape[:-1], -1), *matrix, *((q, scale) if kept else (None, None)))

    def input_gradient(self, grad: Any, steps: float, q: Any, absmax: Any, sums: Any) -> Any:
        self.asked.append(("backward", tuple(grad.shape), sums))
        factor, right = (None, absmax) if absmax.numel() == 1 else (absmax, torch.ones(1))
        rows = grad.flatten(0, -2)
        *left, turned, added = quantizing.gradient_operands(rows, q, factor, steps, sums)
        made = operators.int8_linear(tuple(left), (turned, right), None, grad.dtype)
        return made.view(*grad.shape[:-1], -1), added


@each_kind
@pytest.mark.parametrize("lead", [(6,), (2, 3)])
def test_where_kernels_take_whole_steps_they_are_asked_for_them(
    kind: str, lead: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = KINDS[kind](32, 24)
    x, grad = torch.randn(*lead, 32), torch.randn(*lead, 24)
    steps, found = Steps(), []
    for kernels in (None, steps):
        monkeypatch.setattr(gradients, "training", lambda *_, given=kernels: given)
        layer.zero_grad()
        leaf = x.clone().requires_grad_()
        layer(leaf).backward(grad)
        found.append([leaf.grad, *(one.grad for one in layer.parameters())])
    assert steps.asked == [
        ("forward", (*lead, 32), kind != "vector", kind == "memory"),
        ("backward", (*lead, 24), torch.float32),
    ]
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
    layer(leaf).sum().backward()  # a gradient that is one number everywhere
    assert len(steps.asked) == 3
    layer(x.transpose(0, -1).contiguous().transpose(0, -1))
    assert len(steps.asked) == 3


@each_kind
def test_gradients_have_no_gradients_of_their_own(device: Any, kind: str) -> None:
    layer = KINDS[kind](32, 24, device=device)
    x = torch.randn(5, 32, device=device, requires_grad=True)
    (gradient,) = torch.autograd.grad((layer(x) ** 2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@each_kind
def test_gradients_of_a_sum_have_none_either_and_are_no_constants(device: Any, kind: str) -> None:
    """A penalty on them would leave the weight out, without a word."""
    layer = KINDS[kind](32, 24, device=device)
    x = torch.randn(5, 32, device=device, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        (gradient.square().sum() + layer(x).sum()).backward()


@each_kind
def test_a_weight_changed_after_the_forward_pass_does_not_change_its_gradients(
    device: Any, kind: str
) -> None:
    layer = KINDS[kind](32, 24, device=device)
    x = torch.randn(5, 32, device=device, requires_grad=True)
    found = []
    for change in (False, True):
        x.grad = None
        y = layer(x)
        if change:
            with torch.no_grad():
                layer.weight.mul_(3.0)
        y.sum().backward()
        found.append(x.grad)
    assert torch.equal(*found)


def kept_bytes(layer: Any, x: Any) -> int:
    """Bytes that autograd keeps of one call, what the layer and its input hold anyway left out."""
    ours = {t.untyped_storage().data_ptr() for t in (x, *layer.parameters())}
    kept: dict[int, int] = {}

    def note(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in ours:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        layer(x * 1.0 if x.requires_grad else x)
    return sum(kept.values())


@each_kind
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_what_is_kept_is_an_int8_weight_and_the_activations(
    device: Any, kind: str, dtype: str
) -> None:
    real = getattr(torch, dtype)
    rows, depth, columns = 512, 128, 64
    layer = KINDS[kind](depth, columns, device=device, dtype=real)
    x = torch.randn(rows, depth, device=device, dtype=real, requires_grad=True)
    width = 1 if kind == "memory" else real.itemsize
    scales = 4 * rows if kind == "memory" else 0
    kept = kept_bytes(layer, x) - rows * depth * width - columns * depth - scales
    assert 0 <= kept <= 4 * columns + 64


def test_without_gradients_nothing_is_kept(device: Any) -> None:
    layer = nn.SwitchBackLinear(128, 64, device=device).requires_grad_(requires_grad=False)
    x = torch.randn(512, 128, device=device)
    assert kept_bytes(layer, x) == 0
    assert not layer(x).requires_grad
    layer.requires_grad_()
    with torch.no_grad():
        assert not layer(x).requires_grad
    assert layer(x).requires_grad


def error(got: Any, wanted: Any) -> float:
    return float((got.double() - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("prepared", [False, True])
def test_rows_of_any_size_leave_the_gradient_as_exact(device: Any, *, prepared: bool) -> None:
    """Large rows of a weight meet small gradients in a trained network, and the reverse."""
    sizes = torch.exp(torch.randn(1024, device=device))
    weight = torch.randn(1024, 256, device=device) * sizes[:, None]
    grad = torch.randn(64, 1024, device=device) / sizes
    layer = nn.SwitchBackLinearVectorwise(256, 1024, device=device).eval()
    with torch.no_grad():
        layer.weight.copy_(weight)
    if prepared:
        layer.prepare_for_eval()
    x = torch.randn(64, 256, device=device, requires_grad=True)
    layer(x).backward(grad)
    assert x.grad is not None
    assert error(x.grad, grad.double() @ weight.double()) <= 0.015


@each_kind
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_gradients_do_not_hide_what_is_not_finite(device: Any, kind: str, value: float) -> None:
    layer = KINDS[kind](64, 24, device=device)
    x = torch.randn(4, 64, device=device, requires_grad=True)
    grad = torch.randn(4, 24, device=device)
    grad[2, 5] = value
    layer(x).backward(grad)
    assert x.grad is not None
    assert torch.isfinite(x.grad).all(dim=1).tolist() == [True, True, False, True]
    assert torch.isfinite(layer.weight.grad).all(dim=1).tolist() == [n != 5 for n in range(24)]
    assert torch.isfinite(layer.bias.grad).tolist() == [n != 5 for n in range(24)]


@each_kind
def test_halves_of_a_batch_add_up_to_its_gradients(device: Any, kind: str) -> None:
    layer = KINDS[kind](64, 24, device=device)
    x, grad = torch.randn(8, 64, device=device), torch.randn(8, 24, device=device)
    found = []
    for parts in ((slice(None),), (slice(0, 4), slice(4, 8))):
        layer.zero_grad()
        for part in parts:
            layer(x[part]).backward(grad[part])
        found.append([p.grad.clone() for p in layer.parameters()])
    for whole, halves in zip(*found, strict=True):
        torch.testing.assert_close(whole, halves, rtol=1e-4, atol=1e-4)
