"""What every check of the data reads: the files of ``matrix/`` as they lie."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from qdoctor import shipped

if TYPE_CHECKING:
    from pathlib import Path

MATRIX = shipped.matrix_folder()


@pytest.fixture(scope="session")
def matrix_folder() -> Path:
    return MATRIX


@pytest.fixture(scope="session")
def index() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((MATRIX / "index.json").read_text(encoding="utf-8"))
    return content


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a check once per file it asks for: ``table_path`` and so on."""
    patterns = {
        "table_path": "tables/*.json",
        "release_path": "releases/*/*.json",
        "dependents_path": "dependents/*.json",
    }
    for name, pattern in patterns.items():
        if name in metafunc.fixturenames:
            paths = sorted(MATRIX.glob(pattern))
            metafunc.parametrize(name, paths, ids=lambda path: f"{path.parent.name}-{path.stem}")
