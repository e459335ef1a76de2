"""Every file of the matrix has the shape that its schema states."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

if TYPE_CHECKING:
    from pathlib import Path


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _check(path: Path, schema: Path) -> None:
    validator = jsonschema.Draft202012Validator(_read(schema))
    faults = [f"{list(one.path)}: {one.message}" for one in validator.iter_errors(_read(path))]
    assert not faults


def test_a_table(table_path: Path, matrix_folder: Path) -> None:
    own = matrix_folder / "schema" / table_path.name
    _check(table_path, own if own.exists() else matrix_folder / "schema" / "table.json")


def test_a_release(release_path: Path, matrix_folder: Path) -> None:
    _check(release_path, matrix_folder / "schema" / "release.json")


def test_releases_in_one_file(dependents_path: Path, matrix_folder: Path) -> None:
    package = _read(dependents_path)
    validator = jsonschema.Draft202012Validator(_read(matrix_folder / "schema" / "release.json"))
    for version, one in package["releases"].items():
        whole = {"package": package["package"], "version": version, **one}
        assert not list(validator.iter_errors(whole)), version


def test_the_index(matrix_folder: Path) -> None:
    _check(matrix_folder / "index.json", matrix_folder / "schema" / "index.json")


def test_the_schemas_themselves(matrix_folder: Path) -> None:
    for path in (matrix_folder / "schema").glob("*.json"):
        jsonschema.Draft202012Validator.check_schema(_read(path))


@pytest.mark.parametrize(
    ("schema", "broken"),
    [
        ("cuda", {"12.1": {"driver_linux": ">=530", "source": "x", "strength": "documented"}}),
        ("sm", {"sm_70": {}}),
        (
            "program_texts",
            {
                "peft": {
                    "notices": ["Not as texts are kept"],
                    "refusals": [],
                    "shapes": [],
                    "source": "peft",
                    "strength": "mined",
                }
            },
        ),
        ("drivers", {"470.57": {"cuda": "11.4", "source": "x", "strength": "documented"}}),
    ],
)
def test_a_schema_refuses_what_is_not_a_row(
    schema: str, broken: dict[str, Any], matrix_folder: Path
) -> None:
    table = _read(matrix_folder / "tables" / f"{schema}.json")
    validator = jsonschema.Draft202012Validator(_read(matrix_folder / "schema" / f"{schema}.json"))
    assert validator.is_valid(table)
    assert not validator.is_valid({**table, "rows": broken})
