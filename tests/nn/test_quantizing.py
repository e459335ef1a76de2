"""Quantization as operators, and when the dispatcher is left out."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import warnings
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from qdoctor.nn import products, quantizing  # noqa: E402 - torch first

ops = torch.ops.qdoctor


def arguments(name: str, device: Any) -> tuple[Any, ...]:
    x, weight = torch.randn(6, 40, device=device), torch.randn(9, 40, device=device)
    factor = torch.rand(40, device=device)
    q = quantizing.quantize_rows(weight)[0].t().contiguous()
    return {
        "quantize_rows": (x, 127.0, factor),
        "quantize_two": (x, weight, 127.0, False),
        "quantize_two, whole": (x, weight, 127.0, True),
        "quantize_whole": (x,),
        "gradient_operands": (x, q, factor, 127.0, torch.float16),
        "gradient_operands, no sums": (x, q, None, 127.0, None),
    }[name]


OPERATORS = (
    "quantize_rows", "quantize_two", "quantize_two, whole", "quantize_whole", "gradient_operands",
    "gradient_operands, no sums",
)  # fmt: skip


@pytest.mark.parametrize("case", OPERATORS)
def test_each_is_an_operator_that_tells_its_shapes(device: Any, case: str) -> None:
    name = case.partition(",")[0]
    operator, given = getattr(ops, name).default, arguments(case, device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch, about torch
        checks = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
        torch.library.opcheck(operator, given, test_utils=checks)
    more = {"whole": given[-1]} if name == "quantize_two" else {}
    eager = getattr(quantizing, name)(*given[: len(given) - len(more)], **more)
    for one, other in zip(eager, operator(*given), strict=True):
        assert (one is None and not other.numel()) or torch.equal(one, other)
        assert one is None or one.dtype == other.dtype


def test_columns_are_multiplied_before_they_are_quantized(device: Any) -> None:
    x, factor = torch.randn(9, 64, device=device), torch.rand(64, device=device) + 0.1
    q, absmax = quantizing.quantize_rows(x, 1.0, factor)
    torch.testing.assert_close(absmax, (x * factor).abs().amax(1))
    assert ((q * absmax[:, None] / 127 - x * factor).abs() <= absmax[:, None] / 253).all()
    finer = quantizing.quantize_rows(x, 127.0 * 127.0, factor)[1]
    torch.testing.assert_close(finer * 127 * 127, absmax)


def test_the_sums_are_those_of_the_unmultiplied_columns(device: Any) -> None:
    x, factor = torch.randn(50, 33, device=device), torch.rand(33, device=device)
    q = torch.randint(-127, 128, (33, 20), dtype=torch.int8, device=device)
    left, scale, turned, sums = quantizing.gradient_operands(x, q, factor, 127.0, torch.float32)
    torch.testing.assert_close(sums, x.double().sum(0).float())
    assert torch.equal(turned, q.t())
    for one, other in zip((left, scale), quantizing.quantize_rows(x, 127.0, factor), strict=True):
        assert torch.equal(one, other)
    *same, none = quantizing.gradient_operands(x, q, factor, 127.0)
    assert none is None
    for one, other in zip(same, (left, scale, turned), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("size", [(0, 8), (3, 0)], ids=str)
def test_nothing_is_quantized_to_nothing(device: Any, size: tuple[int, int]) -> None:
    x, weight = torch.empty(size, device=device), torch.ones(5, size[1], device=device)
    q, scale, w_q, absmax = quantizing.quantize_two(x, weight, 127.0, whole=True)
    assert (q.shape, scale.shape, w_q.shape, absmax.shape) == (size, size[:1], weight.shape, (1,))
    assert not scale.any()
    left, scale, turned, sums = quantizing.gradient_operands(x, w_q.t(), None, 1.0, x.dtype)
    assert (left.shape, scale.shape) == (size, size[:1])
    assert (turned.shape, sums.shape) == ((5, size[1]), size[1:])
    assert not sums.any()
    whole, absmax = quantizing.quantize_whole(x)
    assert (whole.shape, absmax.tolist()) == (size, [0.0])


def test_int8_comes_back_as_any_floating_type(device: Any) -> None:
    x = torch.randn(7, 40, device=device)
    q, absmax = quantizing.quantize_rows(x, 1.0)
    back = quantizing.dequantized(q, absmax, torch.float64, 1 / 127.0)
    torch.testing.assert_close(back.float(), x, rtol=0, atol=float(absmax.max()) / 253)


# What looks on


class _Mode(torch.utils._python_dispatch.TorchDispatchMode):  # type: ignore[misc, name-defined]
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        return func(*args, **(kwargs or {}))


def test_a_plain_tensor_goes_without_the_dispatcher(device: Any) -> None:
    x = torch.randn(3, device=device)
    for one in (x, x.requires_grad_(), torch.nn.Parameter(x.detach()), x[:0]):
        assert quantizing.eager(one)
    with torch.no_grad():
        assert quantizing.eager(x)


def test_whatever_looks_on_sees_operators() -> None:
    x = torch.randn(3)
    said: list[bool] = []

    def function(x: Any) -> Any:
        said.append(quantizing.eager(x))
        return x * 1.0

    class Wrapped(torch.Tensor):  # type: ignore[misc, name-defined]
        pass

    function(x.as_subclass(Wrapped))
    function(torch.empty(3, device="meta"))
    with _Mode():
        function(x)
    with torch._subclasses.FakeTensorMode() as fake:
        function(fake.from_tensor(x))
    torch.func.vmap(function)(x[:, None])
    torch.func.grad(lambda x: function(x).sum())(x)
    torch.fx.experimental.proxy_tensor.make_fx(function)(x)
    assert said == [False] * 7
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates tracing; it is still used
        torch.jit.trace(function, (x,), check_trace=False)
    assert not said[-1]
    assert quantizing.eager(x)


def test_a_compiler_sees_operators() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch, about torch
        torch._dynamo.reset()
    names: list[str] = []

    def kept(graph: Any, _inputs: Any) -> Any:
        names.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    torch.compile(lambda x: quantizing.quantize_rows(x)[0], backend=kept, fullgraph=True)(
        torch.randn(3, 4)
    )
    assert any("qdoctor.quantize_rows" in name for name in names)


def test_whole_steps_are_for_kernels_and_plain_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    x, q = torch.randn(3, 4), torch.ones(5, 4, dtype=torch.int8)
    assert quantizing.training(x, q) is None, "a CPU has no kernels"
    monkeypatch.setattr(quantizing, "_triton", lambda _: True)
    kernels = quantizing.training(x, q)
    assert kernels is products.kernel("_switchback_training")
    assert quantizing.training(x[:0], q) is None
    assert quantizing.training(x, q[:0]) is None
    with _Mode():
        assert quantizing.training(x, q) is None
