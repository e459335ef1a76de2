"""What all backends share: what is refused, how bytes are counted, what a missing library says."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from qdoctor.backends.kind import (  # noqa: E402 - torch first
    BackendUnavailable,
    Kind,
    bytes_of,
    library,
)


class Copy(Kind):
    name = "copy"

    def replaced(self, linear: Any, *, training: bool = False) -> Any:  # noqa: ANN401, ARG002
        return torch.nn.Linear(linear.in_features, linear.out_features, linear.bias is not None)


def test_what_no_backend_takes() -> None:
    kind = Copy()
    assert not kind.why_not(torch.nn.Linear(4, 4))
    assert "meta device" in kind.why_not(torch.nn.Linear(4, 4, device="meta"))
    assert "PEFT" in kind.why_not(torch.nn.Linear(4, 4), training=True)
    linear = torch.nn.Linear(4, 4)
    linear.weight = torch.nn.Parameter(linear.weight.to(torch.int8), requires_grad=False)
    assert "torch.int8, not floating" in kind.why_not(linear)
    assert kind.transformers_config() is None


def test_bytes_are_those_of_the_weight_shared_memory_once() -> None:
    linear = torch.nn.Linear(8, 4)
    assert Copy().weight_bytes(linear) == 8 * 4 * 4
    linear.register_buffer("again", linear.weight.detach())
    assert Copy().weight_bytes(linear) == 8 * 4 * 4
    linear.register_buffer("scale", torch.ones(4, dtype=torch.float16))
    assert Copy().weight_bytes(linear) == 8 * 4 * 4 + 8
    assert bytes_of([]) == 0


def test_a_tensor_subclass_is_opened() -> None:
    class Parts:
        def __init__(self) -> None:
            self.data_of, self.scale_of = torch.zeros(6, dtype=torch.int8), torch.zeros(2)

        def __tensor_flatten__(self) -> tuple[list[str], None]:
            return ["data_of", "scale_of"], None

    assert bytes_of([Parts()]) == 6 + 8


def test_a_missing_library_says_how_to_get_it() -> None:
    with pytest.raises(BackendUnavailable, match=r"x: nowhere_to_be is not installed: `get it`"):
        library("nowhere_to_be", backend="x", install="get it")


def test_a_broken_library_says_what_it_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:  # noqa: ANN401
    (tmp_path / "broken_lib.py").write_text("raise RuntimeError('no luck\\nat all')")
    (tmp_path / "lacking_lib.py").write_text("import nowhere_to_be")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BackendUnavailable, match=r"\(RuntimeError: no luck\); `qdoctor check`"):
        library("broken_lib", backend="x", install="get it")
    with pytest.raises(BackendUnavailable, match="No module named 'nowhere_to_be'"):
        library("lacking_lib", backend="x", install="get it")
    monkeypatch.setitem(sys.modules, "there_lib", types.ModuleType("there_lib"))
    assert library("there_lib", backend="x", install="").__name__ == "there_lib"
