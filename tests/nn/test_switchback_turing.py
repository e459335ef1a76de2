"""Where Triton multiplies no int8, torch._int_mm does; where nothing does, it is said, or half.

Triton from 3.3 on compiles no int8 product for Turing (SM 7.5), which has the units. That machine
is played here: Triton's way says that it does not serve, whatever the device.
"""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from qdoctor import nn  # noqa: E402 - torch first
from qdoctor.nn import products  # noqa: E402

TRITON, INT_MM, FLOATS = "triton", "torch._int_mm", ("float32", "float64")
SHAPES = ((1, 16, 8), (3, 17, 5), (64, 256, 130), (40, 1000, 24))


def refused(_device: Any) -> None:
    raise RuntimeError("PassManager::run failed\nand a whole module")


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Take the ways of these names (the test's parameter) from every device.

    By default Triton's, and those of CPUs, some of which are faster than what is played here.
    """
    gone = getattr(request, "param", (TRITON, *FLOATS))
    assert {TRITON, INT_MM, *FLOATS} <= {way.name for way in products.WAYS}
    ways = tuple(
        dataclasses.replace(way, prove=refused) if way.name in gone else way
        for way in products.WAYS
    )
    monkeypatch.setattr(products, "WAYS", ways)
    monkeypatch.setattr(products, "_proved", {})


@pytest.mark.usefixtures("lost")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("vector", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
def test_turing_computes_through_cublaslt(
    device: Any, shape: tuple[int, int, int], dtype: Any, *, vector: bool
) -> None:
    rows, depth, columns = shape
    if device.type == "cpu" and products._why_not(_way(INT_MM), device):
        pytest.skip("this torch has no _int_mm on the CPU")
    layer = nn.SwitchBackLinear(
        depth, columns, vector_wise_quantization=vector, device=device, dtype=dtype
    )
    x = torch.randn(2, rows, depth, device=device, dtype=dtype, requires_grad=True)
    y = layer(x)
    assert products.way_on(y.device).name == INT_MM
    grad = torch.randn_like(y)
    y.backward(grad)
    weight = layer.weight.detach().double()
    wanted = torch.nn.functional.linear(x.detach().double(), weight, layer.bias.detach().double())
    assert x.grad is not None
    for got, exact in ((y, wanted), (x.grad, grad.double() @ weight)):
        assert (got.detach().double() - exact).norm() <= 0.03 * exact.norm()
    layer.eval().prepare_for_eval()
    torch.testing.assert_close(layer(x), y, rtol=1e-3, atol=1e-3)


def _way(name: str) -> products.Way:
    return next(way for way in products.WAYS if way.name == name)


EVERY = tuple(way.name for way in products.WAYS)


@pytest.mark.usefixtures("lost")
@pytest.mark.parametrize("lost", [EVERY], indirect=True)
def test_without_any_product_it_raises_in_every_pass_and_still_loads(device: Any) -> None:
    layer = nn.SwitchBackLinear(16, 8, device=device)
    assert not nn.has_int8_product(device)
    with pytest.raises(nn.NoInt8ProductError, match="PassManager::run failed") as caught:
        layer(torch.randn(3, 16, device=device))
    assert "whole module" not in str(caught.value)
    layer.load_state_dict(nn.SwitchBackLinear(16, 8).state_dict())


@pytest.mark.usefixtures("lost")
@pytest.mark.parametrize("lost", [EVERY], indirect=True)
@pytest.mark.parametrize("vector", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_asked_to_it_prepares_and_works_in_half_there(
    device: Any, *, vector: bool, bias: bool
) -> None:
    options = {"vector_wise_quantization": vector, "fallback": "half", "device": device}
    layer = nn.SwitchBackLinear(64, 24, bias, dtype=torch.float16, **options).eval()
    x = torch.randn(5, 64, device=device, dtype=torch.float16)
    dense = layer(x)
    assert torch.equal(dense, torch.nn.functional.linear(x, layer.weight, layer.bias))
    layer.prepare_for_eval()
    assert (layer(x) - dense).float().norm() <= 0.03 * dense.float().norm()
    with torch.autocast(device.type, dtype=torch.bfloat16):
        assert layer(x.float()).dtype == torch.bfloat16
