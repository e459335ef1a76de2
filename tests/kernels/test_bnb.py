"""What the bitsandbytes kernels share: which native functions were called, and what came back."""

# ruff: noqa: ANN401 - modules and tensors, without their types

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

Load = Callable[[str], Any]


class Library:
    """A native library as bitsandbytes holds one."""

    version = 7

    def double(self, value: int) -> int:
        return 2 * value


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A package whose two modules share one library, as bitsandbytes' do: the second one."""
    library = Library()
    for name in ("bitsandbytes", "bitsandbytes.cextension", "bitsandbytes.user"):
        module = types.ModuleType(name)
        module.lib = library if name != "bitsandbytes" else "another lib"  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    return sys.modules["bitsandbytes.user"]


def test_calls_of_native_functions_are_counted_by_name(load: Load, package: Any) -> None:
    bnb = load("_bnb")
    with bnb.noted_calls() as calls:
        assert (package.lib.double(4), package.lib["double"](5)) == (8, 10)
        assert package.lib.version == 7
        assert sys.modules["bitsandbytes"].lib == "another lib"
    assert calls == {"double": 2}
    assert isinstance(package.lib, Library)
    assert bnb.called({**calls, "get_context": 1, "has_avx512bf16_cpu": 3}) == "double x2"


def test_the_library_is_put_back_after_an_error(load: Load, package: Any) -> None:
    with pytest.raises(AttributeError, match="triple"), load("_bnb").noted_calls():
        package.lib.triple(1)
    assert isinstance(package.lib, Library)


def test_without_a_library_nothing_is_replaced(
    load: Load, package: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(sys.modules["bitsandbytes.cextension"], "lib")
    package.lib = None
    bnb = load("_bnb")
    with bnb.noted_calls() as calls:
        assert package.lib is None
    assert bnb.called(calls) == "no native function"


def test_what_is_no_result_is_named(load: Load) -> None:
    torch: Any = pytest.importorskip("torch")

    def say(result: Any, where: str) -> Any:
        return load("_bnb").not_kept(torch, result, where, torch.int32)

    assert say(None, "cpu") == "the result is NoneType, not a tensor"
    whole = torch.zeros(2, dtype=torch.int32)
    assert say(whole, "cpu") is None
    assert say(whole, "cuda:0") == "the result is torch.int32 on cpu, not torch.int32 on cuda:0"
    assert say(whole.float(), "cpu") == "the result is torch.float32 on cpu, not torch.int32 on cpu"


def test_what_multiplied_is_added_to_the_path(load: Load) -> None:
    torch: Any = pytest.importorskip("torch")
    bnb, traced = load("_bnb"), load("_traced")
    left, right = torch.ones(4, 5), torch.ones(5, 3)
    path = bnb.with_product(traced, torch, "cpu", "layer", lambda: left @ right)
    assert path == "layer; multiplied by aten::mm"
    assert bnb.with_product(traced, torch, "cpu", "layer", lambda: left + 1) == "layer"


def test_not_a_number_is_the_largest(load: Load) -> None:
    bnb = load("_bnb")
    assert bnb.largest([1.0, 3.0, 2.0]) == 3.0
    assert str(bnb.largest([1.0, float("nan"), 2.0])) == "nan"


def test_bitsandbytes_that_is_absent_is_not_installed(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = load("_outcomes")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(made.Skipped, match="not installed") as raised:
        load("_bnb").imported(made)
    assert raised.value.code == "not-installed"
