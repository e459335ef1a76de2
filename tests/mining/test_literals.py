"""The words of a pattern: each match holds one of them."""

from __future__ import annotations

from typing import Any

import pytest

from qdoctor.matrix import shipped
from qdoctor.mining.literals import renewed, words

ROWS: list[dict[str, Any]] = shipped().table("signatures")["rows"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("cannot find -lcuda", ["cannot find -lcuda"]),
        ("(?:gcc|clang): not found", [": not found"]),
        ("abcdef|ghijkl", ["abcdef", "ghijkl"]),
        ("abcdef|g", None),
        (r"(?:abcdef)?\d+", None),
        (r"(?P<name>\w+) is (?:not )?there for good", ["there for good"]),
        (r"(?:Required|Wanted)+ library", [" library"]),
    ],
)
def test_every_match_holds_one(pattern: str, found: list[str] | None) -> None:
    assert words(pattern) == found


def test_the_table_has_them_as_its_patterns_do() -> None:
    """Renew it with ``python -m qdoctor.mining.literals``."""
    assert renewed(ROWS) == ROWS


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_an_example_holds_one(row: dict[str, Any]) -> None:
    for text in row["examples"]:
        assert any(word in text for word in row.get("has", [""]))
