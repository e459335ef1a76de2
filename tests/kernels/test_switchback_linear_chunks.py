"""The product of one wave of tiles in one launch: when it is taken, and what room it is given."""

# ruff: noqa: ANN401 - modules loaded by path have no types

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.kernels.beside_linear import FIRST, STEPS, Parts, rows, tensor

if TYPE_CHECKING:
    from tests.kernels.beside_linear import Load

torch = pytest.importorskip("torch")
CHUNKS = (2, 128, 4, 2, 2, 0)


@pytest.fixture
def parts(load: Load, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """The table names a kernel for one wave of tiles, and one for many rows."""
    fused = ((2, 128, 5, True, 2, True), 8, 3, 2**29, 1, 16)
    return Parts(load, monkeypatch, chunks=CHUNKS, fused=fused)


def test_a_wave_of_tiles_takes_one_launch_compiled_once(parts: Parts) -> None:
    x = rows(300, 4096, stride=(4104, 1))
    bias = tensor(0x4000, 1024, dtype=torch.float32)
    c = parts.run(x, bias=bias)
    int8 = 300 * 4096  # then a magnitude for each chunk of 512 rows
    assert parts.made == [
        ((int8 + 4 * 2 * 512,), torch.int8, FIRST), ((300, 1024), torch.bfloat16, 2 * FIRST)
    ]  # fmt: skip
    assert (c.shape, c.data_ptr()) == ((300, 1024), 2 * FIRST)
    assert parts.calls == [
        ("compiled", CHUNKS, "bfloat16", "float32", 4096, 0, "sm_90a"),
        (
            "chunks", (300, 4096, 1024), (0x1000, 0x2000, 2 * FIRST), (FIRST, FIRST + int8), 4104,
            STEPS, (0x3000, 1), 0x4000, 50,
        ),
    ]  # fmt: skip
    parts.run(x, bias=bias)
    parts.run(rows(301, 4096), bias=bias)
    assert parts.words() == ["compiled", *["chunks"] * 3]
    assert parts.linear.compiled(0) == ("chunks",)


@pytest.mark.parametrize(
    "x",
    [rows(300, 4000), rows(5000, 4096), rows(300, stride=(4112, 1), at=0x1008)],
    ids=["depth", "rows", "unaligned"],
)
def test_what_it_does_not_take_is_left_to_the_others(parts: Parts, x: Any) -> None:
    parts.run(x)
    assert "chunks" not in parts.words()
    assert not parts.linear.why_not(0)


def test_where_it_does_not_serve_the_others_do(parts: Parts) -> None:
    parts.refusal = parts.not_here("17 of its results are not exact")
    assert parts.run(rows(300)) == "multiplied"
    assert parts.linear.why_not(0)["chunks"] == "17 of its results are not exact"
