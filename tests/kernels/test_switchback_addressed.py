"""Launches by addresses are given what launches of tensors were given, in the same places."""

# ruff: noqa: ANN401 - modules loaded by path have no types

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

Load = Callable[[str], Any]
STREAM = 9


class Launcher:
    """Notes what is launched; every kind that came is ready."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.known: dict[Any, Any] = {}

    def __call__(self, key: Any, arguments: Any, _plan: Any) -> None:
        self.seen.append([*arguments, "constants"])
        self.known[key] = (
            lambda *given, stream: self.seen.append([*given, stream]),
            ("constants",),
        )

    def ready(self, key: Any) -> Any:
        return self.known.get(key)


@pytest.fixture
def both(load: Load, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The file, the quantization beside it, and the launchers of its kernels."""
    quantize, addressed = load("_switchback_quantize"), load("_switchback_addressed")
    names = ("quantize_two", "quantize_flat", "quantize_rows", "quantize_and_sum")
    launchers = {name: Launcher() for name in (*names, "transpose_and_add")}
    monkeypatch.setattr(quantize, "launchers", lambda: launchers)
    monkeypatch.setattr(quantize, "_torch", torch)
    monkeypatch.setattr(addressed, "_ours", quantize)
    return addressed, quantize, launchers


def numbers(arguments: Any, names: dict[int, str]) -> list[Any]:
    """Arguments, tensors and addresses by the names of what lies there."""
    as_numbers = [one.data_ptr() if isinstance(one, torch.Tensor) else one for one in arguments]
    return [names.get(one, one) if index < 6 else one for index, one in enumerate(as_numbers)]


@pytest.mark.parametrize("whole", [False, True])
def test_activations_and_weight(both: Any, *, whole: bool) -> None:
    addressed, quantize, launchers = both
    x, weight = torch.randn(6, 48)[:, :40], torch.randn(12, 40)
    assert addressed.quantize_two(x, weight, whole=whole) is None
    q, scale, w_q, absmax = quantize.quantize_two(x, weight, 64.0, whole=whole)
    launch, parts = addressed.quantize_two(x, weight, whole=whole)
    assert bool(parts) is whole
    at = (x.data_ptr(), 1, 2, weight.data_ptr(), 3, 4, 5)
    launch(at, 64.0, STREAM)
    names = {1: "q", 2: "scale", 3: "w_q", 4: "absmax", 5: "parts"}
    names.update({q.data_ptr(): "q", scale.data_ptr(): "scale"})
    names.update({w_q.data_ptr(): "w_q", absmax.data_ptr(): "absmax"})
    long, short = launchers["quantize_two"].seen
    if whole:
        names[long[5].data_ptr()] = "parts"
        flat, again = launchers["quantize_flat"].seen
        assert numbers(again[:-1], names) == numbers(flat, names)
        assert again[-1] == STREAM
    assert numbers(short[:-1], names) == numbers(long, names)
    assert short[-1] == STREAM


@pytest.mark.parametrize("sums", [None, torch.float32])
@pytest.mark.parametrize("factor", [False, True])
def test_operands_of_an_input_gradient(both: Any, *, factor: bool, sums: Any) -> None:
    addressed, quantize, launchers = both
    grad, q = torch.randn(6, 40), torch.ones(40, 24, dtype=torch.int8)
    given = torch.rand(40) if factor else None
    assert addressed.gradient_operands(grad, 24, factor=factor, sums=sums) is None
    left, scale, turned, added = quantize.gradient_operands(grad, q, given, 64.0, sums)
    launch, parts = addressed.gradient_operands(grad, 24, factor=factor, sums=sums)
    at_factor = given.data_ptr() if given is not None else 6
    launch((grad.data_ptr(), 1, 2, at_factor, 3, q.data_ptr(), 4, 5), 64.0, STREAM)
    names = {1: "left", 2: "scale", 3: "parts", 4: "turned", 5: "added", left.data_ptr(): "left",
             scale.data_ptr(): "scale", turned.data_ptr(): "turned"}  # fmt: skip
    rows = launchers["quantize_rows" if sums is None else "quantize_and_sum"].seen
    turn = launchers["transpose_and_add"].seen
    if sums is None:
        assert parts == 0
        for arguments in turn:  # what there is not is not read
            arguments[2:4] = ["none", "none"]
    else:
        names.update({added.data_ptr(): "added", turn[0][2].data_ptr(): "parts"})
        assert parts == turn[0][2].numel()
    for long, short in (rows, turn):
        assert numbers(short[:-1], names) == numbers(long, names)
        assert short[-1] == STREAM


def test_what_must_be_looked_at_is_not_launched_so(both: Any) -> None:
    addressed, quantize, _ = both
    x, weight = torch.randn(6, 40), torch.randn(12, 40)
    quantize.quantize_two(x, weight, 64.0, whole=False)
    assert addressed.quantize_two(x, weight, whole=True) is None
    assert addressed.quantize_two(x.t().contiguous().t(), weight, whole=False) is None
    assert addressed.quantize_two(x, weight.t().contiguous().t(), whole=False) is None
    quantize.LARGEST_BLOCK = 32
    assert addressed.quantize_two(x, weight, whole=False) is None
    assert addressed.gradient_operands(x, 24, factor=False, sums=None) is None
