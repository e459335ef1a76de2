"""An int8 product in two launches, and what is worked out only once."""

# ruff: noqa: ANN401 - modules loaded by path have no types

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.kernels.beside_linear import FIRST, STEPS, Parts, rows

if TYPE_CHECKING:
    from tests.kernels.beside_linear import Load

torch = pytest.importorskip("torch")


@pytest.fixture
def parts(load: Load, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """The table names no kernel that does it in one launch."""
    return Parts(load, monkeypatch)


def test_where_the_table_names_no_kernel_two_are_launched(parts: Parts) -> None:
    assert parts.run(rows()) == "multiplied"


def test_from_the_second_time_two_launches_are_made_by_addresses(parts: Parts) -> None:
    parts.run(rows(3))
    bias = torch.bfloat16
    assert parts.calls[-1] == ("asked", (0, 3, 4096, 1024, bias, None, True, True))
    parts.calls.clear()
    c = parts.run(rows(3))
    int8_and_scales = 3 * 4096 + 3 * 4
    assert parts.made == [
        ((int8_and_scales,), torch.int8, FIRST), ((3, 1024), torch.bfloat16, 2 * FIRST)
    ]  # fmt: skip
    scales = FIRST + 3 * 4096
    assert parts.calls == [
        ("q", 0x1000, FIRST, scales, STEPS, 50),
        ("m", FIRST, scales, 0x2000, 0x3000, None, c.data_ptr(), 50),
    ]


def test_the_scales_start_on_a_boundary(parts: Parts) -> None:
    for _ in range(2):
        parts.run(rows(3, 1000))
    assert parts.calls[-2][3] % 128 == 0
    assert parts.calls[-2][3] >= FIRST + 3 * 1000


@pytest.mark.parametrize("x", [rows(at=0x1008), rows(device=-1)], ids=["unaligned", "cpu"])
def test_two_launches_that_must_look_do_so_each_time(parts: Parts, x: Any) -> None:
    parts.choice.few = (8, 8)
    parts.known = x.get_device() >= 0
    for _ in range(3):
        parts.run(x)
    assert [word for word in parts.words() if word != "asked"] == ["quantized", "multiplied"] * 3
    assert len(parts.linear._known) == 1


def test_ever_new_shapes_do_not_pile_up(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts.linear, "REMEMBERED", 3)
    for count in range(1, 20):
        parts.run(rows(count))
        assert len(parts.linear._known) <= 3


def test_what_it_asks_of_torch_is_there_in_every_torch(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = load("_switchback_linear")._asks()
    private = SimpleNamespace()
    monkeypatch.setattr(torch, "_C", private)
    made: list[Any] = []
    monkeypatch.setattr(torch, "empty_strided", lambda *given, **more: made.append((given, more)))
    plain = load("_switchback_linear")._asks()
    plain.empty((3, 4), (4, 1), torch.int8)
    assert made == [(((3, 4), (4, 1)), {"dtype": torch.int8, "device": "cuda"})]
    assert plain.device is torch.cuda.current_device
    assert callable(quick.empty)
