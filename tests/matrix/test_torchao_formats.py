"""The table ``torchao_formats`` names what the released wheels have."""

from __future__ import annotations

from typing import Any

import pytest

from qdoctor.matrix import shipped
from qdoctor.question import BACKENDS

TABLE: dict[str, Any] = shipped().table("torchao_formats")
FORMATS = sorted(TABLE["formats"])


def of_releases(key: str) -> list[list[Any]]:
    """Give a fact of every torchao release that has it."""
    matrix = shipped()
    found = (matrix.release("torchao", str(version)) for version in matrix.versions("torchao"))
    return [one.facts[key] for one in found if one is not None and key in one.facts]


@pytest.mark.parametrize("name", FORMATS)
def test_every_name_and_every_refusal_is_in_some_release(name: str) -> None:
    row = TABLE["formats"][name]
    keys = ("quantization_names", "prototype_names")
    listed = {one for key in keys for names in of_releases(key) for one in names}
    assert not set(row["names"]) - listed
    refusing = {one["function"] for demands in of_releases("gpu_demands") for one in demands}
    assert not set(row["refused_by"]) - refusing


def test_every_format_is_a_backend_with_an_ability_that_is_stated() -> None:
    assert {f"torchao-{name}" for name in FORMATS} < set(BACKENDS)
    columns = shipped().table("sm")["columns"]
    for name in FORMATS:
        row = TABLE["formats"][name]
        assert row["ability"] is None or row["ability"] in columns
        assert (row["ability"] is None) == (row["units"] is None)
        assert row["source"] in TABLE["sources"]


def test_every_statement_is_about_a_format_and_has_its_source() -> None:
    for row in TABLE["rows"]:
        assert row["format"] in FORMATS
        assert row["device"] in {"gpu", "cpu", "any"}
        assert row["source"] in TABLE["sources"]
    for place, row in TABLE["gpus"].items():
        name, _, sm = place.partition(" ")
        assert name in FORMATS
        assert sm in shipped().table("sm")["rows"]
        assert row["source"] in TABLE["sources"]
