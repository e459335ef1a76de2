"""The operator that quantizes activations and multiplies them: its numbers, shapes and refusals."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from qdoctor import nn  # noqa: E402 - torch first
from qdoctor.nn import operators, products, quantizing  # noqa: E402

STEPS = 127.0
operator = torch.ops.qdoctor.quantizing_linear.default


def operands(device: Any, *, each: bool, bias: Any = None) -> tuple[Any, ...]:
    x = torch.randn(6, 40, device=device)
    weight = torch.randn(9, 40, device=device)
    q, absmax = quantizing.quantize_rows(weight, 1.0) if each else quantizing.quantize_whole(weight)
    return x, STEPS * STEPS, q, absmax, bias and torch.randn(9, device=device, dtype=bias)


@pytest.mark.parametrize("each", [True, False], ids=["rows", "whole"])
@pytest.mark.parametrize("bias", [None, torch.float32, torch.float16], ids=str)
def test_it_does_what_the_two_do_and_tells_its_shape(device: Any, bias: Any, *, each: bool) -> None:
    given = operands(device, each=each, bias=bias)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch, about torch
        checks = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
        torch.library.opcheck(operator, given, test_utils=checks)
    x, steps, q, absmax, plus = given
    wanted = operators.int8_linear(
        quantizing.quantize_rows(x, steps), (q, absmax), plus, torch.float32
    )
    for got in (operator(*given), operators.quantizing_linear(x, steps, (q, absmax), plus)):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize("size", [(0, 8, 5), (3, 0, 5), (3, 8, 0)], ids=str)
def test_nothing_times_something_is_the_bias(device: Any, size: tuple[int, int, int]) -> None:
    rows, depth, columns = size
    bias = torch.randn(columns, device=device)
    q = torch.ones(columns, depth, dtype=torch.int8, device=device)
    scale = torch.ones(1, device=device)
    y = operators.quantizing_linear(torch.ones(rows, depth, device=device), STEPS, (q, scale), bias)
    if depth:
        assert y.shape == (rows, columns)
    else:
        assert torch.equal(y, bias.expand(rows, columns))


def test_operands_that_do_not_lie_side_by_side_are_read_as_what_they_are(device: Any) -> None:
    x, steps, q, absmax, bias = operands(device, each=True, bias=torch.float32)
    wanted = operators.quantizing_linear(x, steps, (q, absmax), bias)
    turned = q.t().contiguous().t()
    spread = torch.stack((absmax, absmax), dim=1)[:, 0]
    apart = torch.stack((bias, bias), dim=1)[:, 0]
    assert not any(one.is_contiguous() for one in (turned, spread, apart))
    got = operators.quantizing_linear(x.t().contiguous().t(), steps, (turned, spread), apart)
    assert torch.equal(got, wanted)


def test_where_a_way_does_both_at_once_it_is_asked_for_both(
    device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def both(x: Any, steps: float, weight: Any, scale: Any, bias: Any) -> Any:
        asked.append((x.shape, steps, weight.dtype, scale.shape, bias))
        return x.new_zeros(x.shape[0], weight.shape[0])

    way = replace(products.way_on(device), linear=both)
    monkeypatch.setattr(operators, "way_on", lambda _: way)
    given = operands(device, each=True)
    layer = nn.SwitchBackLinear(40, 9, bias=False, device=device, vector_wise_quantization=True)
    layer.eval().prepare_for_eval()
    with torch.no_grad():
        assert not layer(given[0]).any()
    assert not operator(*given).any()
    assert asked == [((6, 40), STEPS * STEPS, torch.int8, (9,), None)] * 2


def test_a_prepared_layer_is_one_operator_for_whatever_looks_on(device: Any) -> None:
    layer = nn.SwitchBackLinear(40, 9, device=device).eval()
    layer.prepare_for_eval()
    names: list[str] = []

    def kept(graph: Any, _inputs: Any) -> Any:
        names.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch, about torch
        torch._dynamo.reset()
        torch.compile(layer, backend=kept, fullgraph=True)(torch.randn(3, 40, device=device))
    assert [name for name in names if "qdoctor" in name] == ["qdoctor.quantizing_linear"]


def test_without_a_product_it_says_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_proved", {torch.device("cpu"): "nothing works here"})
    with pytest.raises(nn.NoInt8ProductError, match="nothing works here"):
        operator(*operands(torch.device("cpu"), each=True))


def test_a_parametrized_bias_is_the_one_that_is_added(device: Any) -> None:
    class Doubled(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, bias: Any) -> Any:
            return 2 * bias

    layer = nn.SwitchBackLinear(40, 9, device=device).eval()
    layer.prepare_for_eval()
    x = torch.zeros(3, 40, device=device)
    before = layer(x)
    torch.nn.utils.parametrize.register_parametrization(layer, "bias", Doubled())
    torch.testing.assert_close(layer(x), 2 * before)
