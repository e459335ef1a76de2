"""benchmarks/_switchback_tried.py: which ways of one launch are tried, without a GPU."""

# ruff: noqa: ANN401 - the benchmark's module is loaded

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tried(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(checkout))
    return importlib.import_module("benchmarks._switchback_tried")


def test_ways_for_many_rows_are_those_of_many_rows(tried: Any) -> None:
    assert tried.many_ways((1024, 4096, 1024)) == []
    ways = tried.many_ways((4096, 1024, 4096))
    assert len(ways) == len(set(ways))
    for cut, group, _, lead, _, _ in ways:
        high = 64 * cut[0] * (1 if cut[3] else 2)
        assert 1 <= group <= 8
        assert lead >= 2 * high
