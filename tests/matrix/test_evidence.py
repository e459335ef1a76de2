"""No statement without its evidence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_every_fact_has_evidence_and_no_evidence_lacks_its_fact(release_path: Path) -> None:
    release = json.loads(release_path.read_text(encoding="utf-8"))
    assert set(release["facts"]) == set(release["evidence"])


def test_a_wheel_is_named_with_its_digest(release_path: Path) -> None:
    release = json.loads(release_path.read_text(encoding="utf-8"))
    items = [item for items in release["evidence"].values() for item in items]
    unnamed = [item for item in items if "wheel" in item and "sha256" not in item]
    assert not unnamed


def test_releases_in_one_file_have_their_evidence_too(dependents_path: Path) -> None:
    for one in json.loads(dependents_path.read_text(encoding="utf-8"))["releases"].values():
        assert set(one["facts"]) == set(one["evidence"])
        assert all(item["sha256"] for items in one["evidence"].values() for item in items)


def test_the_source_of_every_row_is_stated(table_path: Path) -> None:
    table = json.loads(table_path.read_text(encoding="utf-8"))
    if "sources" in table:
        assert {row["source"] for row in _statements(table)} <= set(table["sources"])


def test_no_source_is_left_over(table_path: Path) -> None:
    table = json.loads(table_path.read_text(encoding="utf-8"))
    beside_rows = set(table) - {"about", "columns", "sources", "rows"}
    if not beside_rows:  # a value beside the rows may rest on a source without naming it
        text = json.dumps(table["rows"])
        assert not [key for key in table.get("sources", {}) if json.dumps(key) not in text]


def _statements(value: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - any JSON
    """Yield every object with a source and a strength, at any depth."""
    if isinstance(value, dict):
        if {"source", "strength"} <= set(value):
            yield value
        value = [one for key, one in value.items() if key not in ("sources", "columns")]
    if isinstance(value, list):
        for one in value:
            yield from _statements(one)
