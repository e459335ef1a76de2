"""How benchmarks/_switchback_contenders.py asks the peers, without a GPU."""

# ruff: noqa: ANN401 - the benchmark's modules are loaded

from __future__ import annotations

import importlib
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def made(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(checkout))
    return importlib.import_module("benchmarks._switchback_contenders")


class Torch:
    """What torch.compile was asked; what it makes says which of the two it is."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def compile(self, _layer: Any, **options: Any) -> Any:
        self.asked.append(options)
        name = "triton" if "options" in options else "default"
        return lambda _x: name


@pytest.mark.parametrize(
    ("rows", "cuda", "by"),
    [(1, True, "triton"), (16, True, "triton"), (17, True, "default"), (16, False, "default")],
)
def test_rows_that_torchs_int8_product_refuses_are_multiplied_by_triton(
    made: Any, *, rows: int, cuda: bool, by: str
) -> None:
    torch = Torch()
    call = made._compiled_by_rows(torch, None)
    assert call(SimpleNamespace(is_cuda=cuda, shape=(rows, 8))) == by
    assert torch.asked == [
        {"dynamic": False, "mode": "default"},
        {
            "dynamic": False,
            "options": {"max_autotune_gemm": True, "max_autotune_gemm_backends": "TRITON"},
        },
    ]


@pytest.mark.parametrize("timed", [True, False])
def test_a_process_that_only_compiles_does_not_time_torchaos_products(
    made: Any, monkeypatch: pytest.MonkeyPatch, *, timed: bool
) -> None:
    asked, ran = [], []

    def do_bench(call: Any, **options: Any) -> list[float]:
        call()
        asked.append(options)
        return [3.0, 2.0, 4.0]

    product: Any = ModuleType("torchao.prototype.quantized_training.int8_mm")
    product._scaled_int8_mm_kernel = SimpleNamespace()
    testing: Any = ModuleType("triton.testing")
    testing.do_bench = do_bench
    for name in ("torchao", "torchao.prototype", "torchao.prototype.quantized_training", "triton"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, product.__name__, product)
    monkeypatch.setitem(sys.modules, testing.__name__, testing)
    monkeypatch.setitem(made.TUNING, "timed", timed)
    made._tuned_briefly()
    quantiles = (0.5, 0.2, 0.8)
    times = product._scaled_int8_mm_kernel._do_bench(lambda: ran.append(1), quantiles=quantiles)
    assert ran == [1]
    assert times == ([3.0, 2.0, 4.0] if timed else [1.0, 1.0, 1.0])
    assert asked == [{"warmup": 5, "rep": 20, "quantiles": quantiles}] * timed
