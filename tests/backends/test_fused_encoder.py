"""torch's own encoder runs its replaced layers, not its fused path over their weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from qdoctor.backends.replacing import quantize_  # noqa: E402 - torch first
from tests.backends.small_model import NAMES  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdoctor.backends import Kind


@pytest.mark.parametrize("name", NAMES)
def test_torch_s_own_encoder_runs_its_replaced_layers(
    name: str, taking: Callable[..., Kind], relative: Callable[[Any, Any], float]
) -> None:
    kind = taking(name)
    layer = torch.nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    x = torch.randn(2, 5, 64)
    with torch.no_grad():
        wanted = encoder(x)
        done = quantize_(encoder, kind)
        assert len(done.replaced) == 4
        assert "fused path" in done.notes["layers.0"]
        used: list[bool] = []
        encoder.layers[1].linear1.register_forward_pre_hook(lambda *_: used.append(True))
        got = encoder(x)
    assert used == [True]
    assert 0.0 < relative(got, wanted) <= 0.1


def test_without_hooks_the_fused_path_is_not_taken(relative: Callable[[Any, Any], float]) -> None:
    """A hook switches it off by itself, so nothing is hooked here: the int8 error shows the way."""
    layer = torch.nn.TransformerEncoderLayer(64, 4, 128, batch_first=True).eval()
    x = torch.randn(2, 5, 64)
    with torch.no_grad():
        wanted = layer(x)
        quantize_(layer, "qdoctor-switchback")
        assert 1e-4 < relative(layer(x), wanted) <= 0.05


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_an_encoder_does_not_nest_its_input_any_more() -> None:
    layer = torch.nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    encoder = torch.nn.TransformerEncoder(layer, 2).eval()
    padding = torch.tensor([[False, False, True], [False, False, False]])
    x = torch.randn(2, 3, 64)
    with torch.no_grad():
        wanted = encoder(x, src_key_padding_mask=padding)
        quantize_(encoder, "qdoctor-switchback", include=["layers.0.linear1"])
        got = encoder(x, src_key_padding_mask=padding)
    assert torch.allclose(got[~padding], wanted[~padding], atol=0.1)
