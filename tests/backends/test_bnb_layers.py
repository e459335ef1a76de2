"""What is added to bitsandbytes' layers: parameters stay what their owner made them."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("bitsandbytes")

from qdoctor.backends import named  # noqa: E402 - torch first

both_widths = pytest.mark.parametrize("name", ["bnb-int8", "bnb-nf4"])


def layer(name: str, device: Any) -> Any:
    linear = torch.nn.Linear(64, 64, device=device)
    if reason := named(name).why_not(linear):
        pytest.skip(reason)
    return named(name).replaced(linear.eval())


@both_widths
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_forward_leaves_the_bias_as_it_is(name: str, device: Any, dtype: Any) -> None:
    """bitsandbytes casts the parameter itself, and rounds it for good."""
    made = layer(name, device)
    made.bias.data.fill_(1.0001)  # no number of 16 bits
    before, bias = made.bias.clone(), made.bias
    y = made(torch.zeros(3, 64, device=device, dtype=dtype))
    assert y.dtype == dtype
    assert made.bias is bias
    assert torch.equal(made.bias, before)
    y.float().sum().backward()
    assert torch.equal(made.bias.grad, torch.full_like(before, 3.0))


@both_widths
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler, about itself
def test_a_bias_that_is_shown_as_another_dtype_is_compiled(name: str, device: Any) -> None:
    made = layer(name, device)
    x = torch.randn(3, 64, device=device, dtype=torch.bfloat16)
    with torch.no_grad():
        y = torch.compile(made, backend="eager")(x)
        assert torch.equal(y, made(x))
    assert made.bias.dtype == torch.float32
