"""SwitchBack by torch's own operations: what it rounds and multiplies, and which way it takes."""

# ruff: noqa: ANN401 - torch's tensors have no types

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

Load = Callable[[str], Any]


@pytest.fixture
def plain(load: Load) -> Any:
    return load("_switchback_plain")


@pytest.fixture
def made(load: Load) -> Any:
    return load("_outcomes")


def test_rows_keep_their_largest_value_and_zeros_and_nan_are_told(plain: Any) -> None:
    x = torch.tensor([[3.0, -1.5, 0.0], [0.0, 0.0, 0.0], [float("nan"), 1.0, 2.0]])
    q, scale = plain.quantize_rows(x)
    assert (q.dtype, q[0].tolist(), q[1].tolist()) == (torch.int8, [127, -64, 0], [0, 0, 0])
    assert float(scale[0]) == pytest.approx(3.0 / 127)
    assert float(scale[1]) == 0.0
    assert scale[2].isnan()


@pytest.mark.parametrize("shape", [(1, 1, 1), (17, 33, 5), (64, 2048, 40)], ids=str)
def test_every_product_is_exact(plain: Any, made: Any, shape: tuple[int, int, int]) -> None:
    rows, depth, columns = shape
    a = torch.randint(-128, 128, (rows, depth), dtype=torch.int8)
    b = torch.randint(100, 128, (columns, depth), dtype=torch.int8)
    serving, _ = plain.exact_on_cpu(made)
    assert "float32" in serving
    assert plain.LAST_RESORT not in serving
    for multiply in (*serving.values(), plain.PRODUCTS[plain.LAST_RESORT]):
        assert torch.equal(multiply(a, b).long(), a.long() @ b.long().t())


def test_float32_is_exact_where_sums_are_the_largest_that_int8_has(plain: Any) -> None:
    a = torch.full((3, 2500), -128, dtype=torch.int8)
    b = a.clone()
    b[1, ::2], b[2, 7] = 127, 1
    assert torch.equal(plain.in_float32(a, b).long(), a.long() @ b.long().t())
    assert plain.PIECE * 128 * 128 == 2**24


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_product_is_exact_under_autocast_too(plain: Any, dtype: str) -> None:
    a, b, exact = plain.demanding("cpu")
    with torch.autocast("cpu", getattr(torch, dtype)):
        for multiply in plain.PRODUCTS.values():
            assert torch.equal(multiply(a, b).double(), exact)


@pytest.mark.parametrize("legacy", [True, False])
def test_float32_that_may_be_cut_to_fewer_bits_is_not_taken(
    plain: Any, monkeypatch: pytest.MonkeyPatch, *, legacy: bool
) -> None:
    a, b, exact = plain.demanding("cpu")
    assert plain.in_float32(a, b).dtype == torch.float64  # the pieces' sum
    monkeypatch.setattr(plain, "in_float64", lambda *_: "in float64")
    assert torch.equal(plain.in_float32(a, b).double(), exact)
    if legacy:  # before torch 2.9 there is no other way to ask
        monkeypatch.setattr(torch.backends.mkldnn, "matmul", None)
    torch.set_float32_matmul_precision("medium")
    try:
        assert plain.in_float32(a, b) == "in float64"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.equal(plain.in_float32(a, b).double(), exact)


def test_what_is_inexact_or_absent_does_not_serve_and_says_why(
    plain: Any, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "_int_mm", lambda a, b: (a.float() @ b.float() + 1).int())
    serving, (why,) = plain.exact_on_cpu(made)
    assert list(serving) == ["float32"]
    assert re.fullmatch(r"torch._int_mm does not serve: \d+ of 1320 sums are not exact", why)
    monkeypatch.delattr(torch, "_int_mm")
    monkeypatch.setitem(plain.PRODUCTS, "float32", lambda a, b: a.half() @ b.half().t())
    serving, (absent, inexact) = plain.exact_on_cpu(made)
    assert list(serving) == ["float64"]
    assert "has no attribute '_int_mm'" in absent
    assert inexact.startswith("float32 does not serve: ")


def test_a_full_memory_says_nothing_of_a_product(
    plain: Any, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    monkeypatch.setattr(torch, "_int_mm", full)
    with pytest.raises(RuntimeError, match="allocate memory"):
        plain.exact_on_cpu(made)


def test_the_shortest_call_counts_and_the_hopeless_is_called_once(plain: Any) -> None:
    calls = dict.fromkeys(("slow", "fast", "hindered"), 0)

    def product(name: str, *seconds: float) -> Callable[[Any, Any], None]:
        def multiply(_a: Any, _b: Any) -> None:
            time.sleep(seconds[min(calls[name], len(seconds) - 1)])
            calls[name] += 1

        return multiply

    slow = product("slow", 0.4)
    assert plain.fastest({"slow": slow, "fast": product("fast", 0.0)}) == "fast"
    assert calls["slow"] == 1
    assert calls["fast"] == plain.TURNS
    hindered = product("hindered", 0.2, 0.0)
    assert plain.fastest({"slow": product("slow", 0.15), "hindered": hindered}) == "hindered"
