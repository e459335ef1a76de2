"""The index names exactly the releases there are, in the order of their versions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from packaging.version import Version

if TYPE_CHECKING:
    from pathlib import Path


def test_the_index_is_sorted_without_duplicates(index: dict[str, Any]) -> None:
    for package, versions in index["packages"].items():
        parsed = [Version(version) for version in versions]
        assert parsed == sorted(set(parsed)), package


def test_the_index_and_the_files_agree(index: dict[str, Any], matrix_folder: Path) -> None:
    listed = {f"{name}/{one}" for name, versions in index["packages"].items() for one in versions}
    found = {
        f"{path.parent.name}/{path.name.removesuffix('.json')}"
        for path in (matrix_folder / "releases").glob("*/*.json")
    }
    for package in index["together"]:
        path = matrix_folder / "dependents" / f"{package}.json"
        found |= {f"{package}/{one}" for one in json.loads(path.read_bytes())["releases"]}
    assert listed == found


def test_a_package_lies_together_or_apart(index: dict[str, Any], matrix_folder: Path) -> None:
    together = {path.stem for path in (matrix_folder / "dependents").glob("*.json")}
    assert together == set(index["together"])
    assert not [name for name in together if (matrix_folder / "releases" / name).exists()]


def test_releases_in_one_file_are_in_order(dependents_path: Path) -> None:
    package = json.loads(dependents_path.read_text(encoding="utf-8"))
    assert package["package"] == dependents_path.stem
    assert list(package["releases"]) == sorted(package["releases"], key=Version)


def test_a_release_lies_where_its_name_says(release_path: Path) -> None:
    release = json.loads(release_path.read_text(encoding="utf-8"))
    assert release["package"] == release_path.parent.name
    assert release["version"] == release_path.name.removesuffix(".json")


def test_versions_are_public(index: dict[str, Any]) -> None:
    locals_ = [one for versions in index["packages"].values() for one in versions if "+" in one]
    assert not locals_


def test_keyed_tables_are_in_order(table_path: Path) -> None:
    rows = json.loads(table_path.read_text(encoding="utf-8"))["rows"]
    if table_path.stem in {"cuda", "drivers", "sm"}:
        assert list(rows) == sorted(rows, key=Version)
