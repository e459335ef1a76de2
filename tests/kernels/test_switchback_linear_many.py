"""The product of many rows in one launch: when it is taken, and compiled for what."""

# ruff: noqa: ANN401 - modules loaded by path have no types

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.kernels.beside_linear import FIRST, STEPS, Parts, rows, tensor

if TYPE_CHECKING:
    from tests.kernels.beside_linear import Load

torch = pytest.importorskip("torch")
FUSED = ((2, 128, 5, True, 2, True), 8, 3, 2**29, 1, 16)


@pytest.fixture
def parts(load: Load, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """The table names a kernel for many rows."""
    return Parts(load, monkeypatch, fused=FUSED)


def test_many_rows_take_one_launch_compiled_once(parts: Parts) -> None:
    x = rows(300, 4000, stride=(4096, 1))
    bias = tensor(0x4000, 1024, dtype=torch.float32)
    c = parts.run(x, bias=bias)
    scales = FIRST + 300 * 4000
    assert parts.made == [
        ((300 * 4000 + 4 * 300,), torch.int8, FIRST), ((300, 1024), torch.bfloat16, 2 * FIRST)
    ]  # fmt: skip
    assert (c.shape, c.data_ptr()) == ((300, 1024), 2 * FIRST)
    assert parts.calls == [
        ("compiled", FUSED, "bfloat16", "float32", 4000, 0, "sm_90a"),
        (
            "fused", (300, 4000, 1024), (0x1000, 0x2000, 2 * FIRST), (FIRST, scales), 4096, STEPS,
            (0x3000, 1), 0x4000, 50,
        ),
    ]  # fmt: skip
    parts.run(x, bias=bias)
    parts.run(rows(301, 4096), bias=bias)  # as many units of a row
    assert parts.words() == ["compiled", *["fused"] * 3]
    parts.run(rows(300, 2048), bias=bias)
    parts.run(x, scales=1)  # without a bias
    assert parts.words() == ["compiled", "fused"] * 2
    assert parts.linear.compiled(0) == ("fused",)


@pytest.mark.parametrize(
    "x",
    [
        rows(300, at=0x1008),
        rows(300, stride=(4100, 1)),
        rows(300, stride=(1, 300)),
        rows(300, dtype=torch.float32),
        rows(300, 4088),
        rows(300, 16384),
        rows(300, device=-1),
    ],
    ids=["unaligned", "rows", "inner", "dtype", "depth", "room", "cpu"],
)
def test_what_the_kernel_for_many_rows_does_not_take_takes_two(parts: Parts, x: Any) -> None:
    parts.run(x)
    assert parts.words()[:2] == ["quantized", "multiplied"]
    assert not parts.linear.why_not(0)


def test_where_the_kernel_for_many_rows_does_not_serve_two_are_launched(parts: Parts) -> None:
    parts.refusal = parts.not_here("17 of its results are not exact")
    assert parts.run(rows(300)) == "multiplied"
    assert parts.run(rows(301)) == "multiplied"
    assert parts.words().count("compiled") == 1
    assert parts.linear.why_not(0) == {"fused": "17 of its results are not exact"}
    parts.choice.few, parts.refusal = (8, 8), None
    parts.run(rows())  # the other kernel is not meant
    assert parts.words() == ["compiled", "few"]


def test_in_a_graph_many_rows_take_what_is_compiled(parts: Parts) -> None:
    parts.capturing = True
    parts.run(rows(300))
    parts.capturing = False
    parts.run(rows(300))
    parts.capturing = True
    parts.run(rows(300))
    parts.run(rows(500))
    assert parts.words() == ["quantized", "multiplied", "compiled", "fused", "fused", "fused"]
