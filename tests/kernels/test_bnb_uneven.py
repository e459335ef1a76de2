"""4-bit weights of uneven sizes: a release that takes wrong scales is found out, on any CPU."""

# ruff: noqa: ANN401 - modules and tensors, without their types

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest

Load = Callable[[str], Any]

BLOCK = 64
VECTOR = 16
WHOLE_16S = ["16", "48", "80", "96", "272"]
"""Of the lengths that are tried, those that a kernel with vectors of 16 takes."""


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture
def uneven(load: Load) -> Any:
    return load("_bnb_uneven")


class Pretended:
    """A bitsandbytes in plain torch, which keeps a weight's values and each block's scale.

    ``by_rows``: rows of whole 16s look for their scales as if each row began with a block.
    ``refusing``: layers raise where ``refusing(in_features)``.
    """

    def __init__(
        self,
        torch: Any,
        reference: Any,
        *,
        by_rows: bool = False,
        refusing: Callable[[int], bool] = lambda _: False,
    ) -> None:
        self.torch, self.reference, self.by_rows = torch, reference, by_rows
        pretended = self

        class Linear4bit(torch.nn.Linear):  # type: ignore[misc]
            def __init__(self, depth: int, columns: int, *, bias: bool, **how: Any) -> None:
                super().__init__(depth, columns, bias=bias, dtype=how["compute_dtype"])
                self.kind = how["quant_type"]

            def forward(self, x: Any) -> Any:
                if refusing(self.in_features):
                    raise AssertionError("N must be divisible by block_n")
                packed = pretended.quantize(self.weight.float(), BLOCK, self.kind)
                weight = pretended.dequantize(*packed).to(x.dtype)
                return torch.nn.functional.linear(x, weight, self.bias)

        self.functional = types.SimpleNamespace(
            quantize_4bit=self.quantize, dequantize_4bit=self.dequantize
        )
        self.nn = types.SimpleNamespace(Linear4bit=Linear4bit)

    def quantize(self, weight: Any, blocksize: int, quant_type: str) -> tuple[Any, Any]:
        assert blocksize == BLOCK
        values, scale = self.reference(self.torch, weight, quant_type)
        return values / scale, scale

    def dequantize(self, levels: Any, scale: Any) -> Any:
        rows, depth = levels.shape
        if self.by_rows and depth % VECTOR == 0:
            every = scale.reshape(-1)[::BLOCK]
            column = self.torch.arange(depth) // BLOCK
            row = self.torch.arange(rows)[:, None] * (depth // BLOCK)
            scale = every[row + column]
        return (levels * scale).float()


def judged(load: Load, uneven: Any, torch: Any, module: Any) -> dict[str, Any]:
    setting = load("_bnb_weights").Setting("nf4", nested=False, dtype=torch.bfloat16, where="cpu")
    fields = {"variant": "nf4-uneven", "device": "cpu", "evidence": []}
    torch.manual_seed(8)
    with torch.no_grad():
        outcome: dict[str, Any] = uneven.examined(torch, module, setting, fields, 0.006)
    return outcome


def test_a_sound_release_passes(load: Load, uneven: Any, torch: Any) -> None:
    module = Pretended(torch, load("_bnb_weights").reference)
    one = judged(load, uneven, torch, module)
    assert (one["outcome"], one["code"]) == ("passed", None)
    assert "wrong" not in one["detail"]
    assert one["numbers"]["sizes"] == len(uneven.DEPTHS) + 2 * len(uneven.LAYERS)
    assert (one["numbers"]["wrong_sizes"], one["evidence"]) == (0, [])
    assert one["numbers"]["max_rel_error"] <= 0.006


def test_scales_looked_for_by_rows_are_found_out_and_the_sizes_named(
    load: Load, uneven: Any, torch: Any
) -> None:
    module = Pretended(torch, load("_bnb_weights").reference, by_rows=True)
    one = judged(load, uneven, torch, module)
    assert (one["outcome"], one["code"]) == ("wrong", "wrong-value")
    assert f"wrong for {', '.join(WHOLE_16S)} (relative error up to 0." in one["detail"]
    assert "right for 36, 130, 200" in one["detail"]
    assert "Linear4bit: wrong for 96 -> 128 (eval), 96 -> 128 (train)" in one["detail"]
    assert one["numbers"]["wrong_sizes"] == 11
    assert 0.1 < one["numbers"]["max_rel_error"] < 0.5


def test_a_size_that_is_refused_is_noted_and_is_not_wrong(
    load: Load, uneven: Any, torch: Any
) -> None:
    reference = load("_bnb_weights").reference
    one = judged(load, uneven, torch, Pretended(torch, reference, refusing=lambda k: k != 192))
    assert one["outcome"] == "passed"
    assert len(one["evidence"]) == 8
    assert one["evidence"][0] == (
        "96 -> 128 (eval) on the CPU: AssertionError: N must be divisible by block_n"
    )


def test_a_release_that_refuses_everything_is_an_error(load: Load, uneven: Any, torch: Any) -> None:
    module = Pretended(torch, load("_bnb_weights").reference, refusing=lambda _: True)
    with pytest.raises(AssertionError, match="divisible"):
        judged(load, uneven, torch, module)


def test_on_a_gpu_a_refusal_is_an_error(uneven: Any) -> None:
    def refused() -> tuple[float, bool]:
        raise RuntimeError("no such size")

    fields: dict[str, Any] = {"device": "cuda:0", "evidence": []}
    trials = {"a": lambda: (0.0, True), "b": refused}
    with pytest.raises(RuntimeError):
        uneven._all(fields, trials)
    assert uneven._all({**fields, "device": "cpu"}, trials).right == {"a": 0.0}


def test_an_error_that_is_no_number_is_wrong_and_the_worst(uneven: Any) -> None:
    tried = uneven.Tried({"16": 0.001}, {"48": float("nan"), "80": 0.3})
    assert tried.worst() != tried.worst()
    assert tried.told("read") == ("read: wrong for 48, 80 (relative error up to nan), right for 16")
