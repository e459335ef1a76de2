"""The table of bad releases says what the files show, no less and no more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from packaging.specifiers import SpecifierSet

from qdoctor import layers
from qdoctor.matrix import shipped
from qdoctor.mining.suspects import (
    lacking_a_library,
    needing_more_cxx,
    needing_more_glibc,
    promising_any_platform,
)
from qdoctor.probes import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from qdoctor.matrix import Matrix
    from qdoctor.mining.suspects import Suspect

FOUND_BY = {
    "glibc-above-tag": needing_more_glibc,
    "any-platform": promising_any_platform,
    "library-missing": lacking_a_library,
    "cxx-above-neighbours": needing_more_cxx,
}


@pytest.fixture(scope="module")
def rows(matrix_folder: Path) -> list[dict[str, Any]]:
    table = json.loads((matrix_folder / "tables" / "known_bad.json").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = table["rows"]
    return found


@pytest.mark.parametrize("kind", FOUND_BY)
def test_rows_are_exactly_what_the_files_show(kind: str, rows: list[dict[str, Any]]) -> None:
    find: Callable[[Matrix], Iterator[Suspect]] = FOUND_BY[kind]
    shown = {(one.package, one.version) for one in find(shipped())}
    stated = {
        (row["package"], str(version))
        for row in rows
        if row["kind"] == kind
        for version in shipped().versions(row["package"])
        if version in SpecifierSet(row["spec"])
    }
    assert shown == stated


def test_the_matrix_holds_no_withdrawn_release(rows: list[dict[str, Any]]) -> None:
    withdrawn = [row for row in rows if row["kind"] == "withdrawn"]
    assert withdrawn
    for row in withdrawn:
        versions = shipped().versions(row["package"])
        assert not [version for version in versions if version in SpecifierSet(row["spec"])]


def test_no_release_has_two_rows_of_one_kind_and_text(rows: list[dict[str, Any]]) -> None:
    keys = [(row["package"], row["kind"], row["spec"], row.get("what")) for row in rows]
    assert len(keys) == len(set(keys))


def test_what_is_computed_wrongly_says_what_to_do_and_who_notices(
    rows: list[dict[str, Any]],
) -> None:
    variants = {one.name: one.header.variants for one in catalog.read()}
    wrong = [row for row in rows if row["kind"] == "wrong-results"]
    assert wrong
    for row in wrong:
        assert {"what", "instead"} <= row.keys()
        assert hasattr(layers, row.get("question", "Answer"))
        shown = row.get("shown_by")
        assert shown is None or set(shown["variants"]) <= set(variants[shown["probe"]])


def test_no_release_is_both_wrong_and_offered_as_right(rows: list[dict[str, Any]]) -> None:
    for row in (one for one in rows if "repaired" in one):
        released = shipped().versions(row["package"])
        right = [one for one in released if one in SpecifierSet(row["repaired"])]
        assert right
        assert not [one for one in right if one in SpecifierSet(row["spec"])]
