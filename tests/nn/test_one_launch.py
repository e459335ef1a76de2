"""A prepared layer whose rows are quantized and multiplied by one launch: as exact as by two.

That is chosen by the table (matrix/tables/switchback_tiles.json), and asked of a real GPU.
"""

# ruff: noqa: ANN401 - torch is untyped here
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from qdoctor import nn  # noqa: E402 - torch first
from qdoctor.nn.products import kernel  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU"),
]
DEPTH, COLUMNS = 1040, 520
KINDS: dict[str, tuple[int, dict[str, Any]]] = {
    "few": (5, {"few": (8, 2), "fused": None}),
    "fused": (1003, {"few": None}),
}
"""Rows, and what the table is made to say."""
Run = Callable[[Any, Any], Any]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the table name a way of that kind for every shape; nothing is known of any yet."""
    linear, tiles = kernel("_switchback_linear"), kernel("_switchback_tiles")
    major, minor = torch.cuda.get_device_capability()
    row = tiles.table().get(f"{major}.{minor}", {"points": []})
    named = [point["shape"] for point in row["points"] if request.param in point]
    if not named:
        pytest.skip(f"the table names none for SM {major}.{minor}")
    choose = tiles.choose
    way = choose(f"{major}.{minor}", tuple(named[0]), 132).fused
    said = {"fused": way, **KINDS[request.param][1]}
    monkeypatch.setattr(tiles, "choose", lambda *given: choose(*given)._replace(**said))
    for name in ("_known", "_kernels", "_refused"):
        monkeypatch.setattr(linear, name, {})
    torch.manual_seed(3)
    return str(request.param)


def layer(dtype: Any = torch.bfloat16, *, bias: bool = True) -> Any:
    made = nn.SwitchBackLinearVectorwise(DEPTH, COLUMNS, bias, device="cuda", dtype=dtype).eval()
    made.prepare_for_eval()
    return made


def inputs(kind: str, dtype: Any = torch.bfloat16) -> Any:
    return torch.randn(KINDS[kind][0], DEPTH, device="cuda", dtype=dtype)


def by_two(made: Any, x: Any) -> Any:
    """What the two launches give, bit for bit."""
    quantized = kernel("_switchback_quantize").quantize_rows(x, 127.0 * 127.0)
    multiply = kernel("_switchback_product").rescaled_product
    return multiply(quantized, (made.W_int8, made.state_W), made.bias, x.dtype)


def took(kind: str) -> bool:
    linear = kernel("_switchback_linear")
    assert not linear.why_not(torch.cuda.current_device())
    return kind in linear.compiled(torch.cuda.current_device())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@torch.no_grad()
def test_it_is_exact(kind: str, dtype: Any) -> None:
    for bias in (True, False):
        made, x = layer(dtype, bias=bias), inputs(kind, dtype)
        for one in (x, x * 1e-3, torch.zeros_like(x)):
            for _ in range(5):
                assert torch.equal(made(one), by_two(made, one))
    assert took(kind)
    apart = torch.randn(2 * len(x), 2 * DEPTH, device="cuda", dtype=dtype)
    for one in (apart[::2, :DEPTH], apart[: len(x), 1 : DEPTH + 1], apart[: len(x), ::2]):
        assert torch.equal(made(one), by_two(made, one))


@torch.no_grad()
def test_what_it_does_not_take_is_multiplied_by_two(kind: str) -> None:
    made, x = layer(torch.float32), inputs(kind, torch.float32)
    assert torch.equal(made(x), by_two(made, x))
    assert not took(kind)


@torch.no_grad()
def test_streams_at_once_do_not_meet(kind: str) -> None:
    made, xs = layer(), [inputs(kind), inputs(kind)[:-1]]
    wanted = [by_two(made, x) for x in xs]
    streams, found = [torch.cuda.Stream(), torch.cuda.Stream()], []
    torch.cuda.synchronize()
    for _ in range(20):
        for stream, x, result in zip(streams, xs, wanted, strict=True):
            with torch.cuda.stream(stream):
                found.append((made(x), result))
    torch.cuda.synchronize()
    assert all(torch.equal(*pair) for pair in found)
    assert took(kind)


@torch.no_grad()
def test_a_graph_replays_it_beside_other_calls(kind: str) -> None:
    made, x = layer(), inputs(kind)
    wanted = by_two(made, x)
    assert torch.equal(made(x), wanted)
    graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with torch.cuda.graph(graph):
        first, second = made(x), made(x)
    torch.cuda.synchronize()
    for _ in range(10):
        graph.replay()
        with torch.cuda.stream(side):
            beside = made(x)
        torch.cuda.synchronize()
        assert all(torch.equal(one, wanted) for one in (first, second, beside))
    assert took(kind)


def test_its_gradients_are_those_of_two(kind: str) -> None:
    made, given = layer(), inputs(kind)
    x, grad = (
        given.clone().requires_grad_(),
        torch.randn(len(given), COLUMNS, device="cuda").bfloat16(),
    )
    y = made(x)
    y.backward(grad)
    with torch.no_grad():
        assert torch.equal(y, by_two(made, given))
    again = given.clone().requires_grad_()
    made(again).backward(grad)
    assert torch.equal(x.grad, again.grad)
    assert x.grad.abs().sum() > 0
    assert took(kind)
