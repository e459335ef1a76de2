"""The scorer and its data, as the benchmark itself reads them."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def scorer(checkout: Path) -> ModuleType:
    """benchmarks/cases.py: a script, so it is loaded by its path."""
    path = checkout / "benchmarks" / "cases.py"
    spec = importlib.util.spec_from_file_location("benchmarks_cases", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def files() -> list[Path]:
    return sorted(HERE.glob("*.jsonl"))


@pytest.fixture(scope="session")
def recorded() -> dict[str, dict[str, int]]:
    """The figures that every file reached when they were last renewed on purpose."""
    content: dict[str, Any] = json.loads((HERE / "recorded.json").read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="session")
def causes() -> set[str]:
    return set((HERE / "causes.txt").read_text(encoding="utf-8").split())
