"""The fp8 reference against torch's fp8 types, and by hand."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import pytest

Load = Callable[[str], Any]
TORCH = {"e4m3": "float8_e4m3fn", "e5m2": "float8_e5m2"}

each_format = pytest.mark.parametrize("kind", TORCH)


@each_format
def test_every_byte_means_what_it_means_in_torch(load: Load, kind: str) -> None:
    torch = pytest.importorskip("torch")
    fp8 = load("_fp8")
    every = torch.arange(256, dtype=torch.uint8).view(getattr(torch, TORCH[kind])).float().tolist()
    ours = [fp8.decode(bits, kind) for bits in range(256)]
    assert [struct.pack("<d", x) for x in ours if not math.isnan(x)] == [
        struct.pack("<d", x) for x in every if not math.isnan(x)
    ]
    assert [math.isnan(x) for x in ours] == [math.isnan(x) for x in every]


@each_format
@pytest.mark.parametrize("source", ["float32", "bfloat16"])
def test_the_reference_rounds_as_torch_does_on_the_cpu(load: Load, kind: str, source: str) -> None:
    torch = pytest.importorskip("torch")
    fp8 = load("_fp8")
    values = fp8.values(kind, source)
    x = torch.tensor(values, dtype=torch.float32).to(getattr(torch, source))
    finite = [value for value in values if not math.isnan(value)]
    assert x[:-1].float().tolist() == finite  # every value is exact in its source
    got = x.to(getattr(torch, TORCH[kind])).view(torch.uint8).tolist()
    assert all(bits in fp8.encode(value, kind) for value, bits in zip(values, got, strict=True))


@pytest.mark.parametrize(
    ("kind", "value", "bits"),
    [
        ("e4m3", 448.0, [0x7E]),
        ("e4m3", 463.9, [0x7E]),
        ("e4m3", 464.0, [0x7E, 0x7F, 0xFF]),  # half a step past the largest: rounds away from it
        ("e4m3", -math.inf, [0xFE, 0x7F, 0xFF]),
        ("e4m3", 2.0**-10, [0x00]),  # a tie with zero
        ("e4m3", 3 * 2.0**-10, [0x02]),
        ("e4m3", -0.0, [0x80]),
        ("e5m2", 57344.0, [0x7B]),
        ("e5m2", 61440.0, [0x7B, 0x7C]),
        ("e5m2", 1.125, [0x3C]),  # ties go to the even mantissa
        ("e5m2", 1.375, [0x3E]),
    ],
)
def test_the_reference_by_hand(load: Load, kind: str, value: float, bits: list[int]) -> None:
    fp8 = load("_fp8")
    assert fp8.encode(value, kind) == bits


def test_same_tells_signs_apart_and_no_nan_from_another(load: Load) -> None:
    same = load("_fp8").same
    assert same(math.nan, -math.nan)
    assert same(1.0, 1.0)
    assert not same(0.0, -0.0)
    assert not same(math.inf, math.nan)
    assert not same(math.nan, 1.0)
