"""16-bit formats, autocast, and casts that a layer follows."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from qdoctor.backends.precision import (  # noqa: E402 - torch first
    autocast,
    autocast_dtype,
    follow_cast,
    half_dtype,
)


def test_a_cpu_computes_in_bfloat16() -> None:
    assert half_dtype(torch.device("cpu")) == torch.bfloat16


@pytest.mark.gpu
def test_a_gpu_is_asked() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    wanted = torch.bfloat16 if torch.cuda.get_device_capability()[0] >= 8 else torch.float16
    assert half_dtype(torch.device("cuda", 0)) == wanted


def test_autocast_casts_what_a_linear_layer_would_cast() -> None:
    x, double = torch.ones(2), torch.ones(2, dtype=torch.float64)
    assert autocast_dtype("cpu") is None
    assert autocast(x) is x
    with torch.autocast("cpu", torch.float16):
        assert autocast_dtype("cpu") == torch.float16
        assert autocast(x).dtype == torch.float16
        assert autocast(double).dtype == torch.float64
        assert autocast_dtype("meta") is None


def test_a_dtype_that_was_had_follows_casts() -> None:
    layer = torch.nn.Identity()
    follow_cast(layer, lambda tensor: tensor.half())
    assert not hasattr(layer, "int8_original_dtype")
    layer.int8_original_dtype = torch.float32
    follow_cast(layer, lambda tensor: tensor.half())
    assert layer.int8_original_dtype == torch.float16
    follow_cast(layer, lambda tensor: tensor.cpu())
    assert layer.int8_original_dtype == torch.float16
