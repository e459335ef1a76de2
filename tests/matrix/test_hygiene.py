"""The data names no package index, no private machine, and is written one way."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

HOST = re.compile(r"\b((?:[a-z0-9-]+\.)+(?:com|org|net|io))(?=[/:])")
PRIVATE = re.compile(r"/(home|root|Users)/")
# Documentation and discussions that rows cite; never where packages are fetched from.
CITED = {
    "developer.nvidia.com",
    "docs.nvidia.com",
    "forums.developer.nvidia.com",
    "github.com",
    "json-schema.org",
    "numpy.org",
    "pytorch.org",
}


def _every_file(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix in {".json", ".md"}]


def test_only_documentation_is_cited(matrix_folder: Path) -> None:
    for path in _every_file(matrix_folder):
        assert set(HOST.findall(path.read_text(encoding="utf-8"))) <= CITED, path.name


def test_no_path_of_somebodys_machine(matrix_folder: Path) -> None:
    named = [p for p in _every_file(matrix_folder) if PRIVATE.search(p.read_text(encoding="utf-8"))]
    assert not named


def test_no_key_stands_twice_in_one_object(matrix_folder: Path) -> None:
    for path in matrix_folder.rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)


def test_the_folder_holds_only_data(matrix_folder: Path) -> None:
    files = {path.name for path in matrix_folder.rglob("*.py")}
    assert files == {"__init__.py"}
    assert (matrix_folder / "__init__.py").read_text(encoding="utf-8").count("import") == 0


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(keys) != len(set(keys)):
        pytest.fail(f"an object has a key twice: {keys[:5]}")
    return dict(pairs)
