"""GPU names are recognised, and ambiguous only on purpose."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from qdoctor.gpu_names import Catalog

if TYPE_CHECKING:
    from pathlib import Path

# Names that people use for cards of different SM; nothing else may be ambiguous.
AMBIGUOUS = {
    "GeForce 710A", "GeForce 710M", "GeForce 810M", "GeForce 820M", "GeForce GT 630",
    "GeForce GT 640", "GeForce GT 640M LE", "GeForce GT 710", "GeForce GT 720", "GeForce GT 730",
    "GeForce GT 730M", "GeForce GT 740M", "GeForce GTX 750", "GeForce GTX 860M",
    "RTX 3000", "RTX 4000", "RTX 5000", "RTX 6000", "TITAN X",
}  # fmt: skip


@pytest.fixture(scope="module")
def table(matrix_folder: Path) -> dict[str, Any]:
    path = matrix_folder / "tables" / "gpus.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def catalog(table: dict[str, Any]) -> Catalog:
    return Catalog(table)


def _names(table: dict[str, Any]) -> list[str]:
    return [name for row in table["rows"] for name in (row["name"], *row.get("aliases", ()))]


def test_every_model_is_found_by_each_of_its_names(table: dict[str, Any], catalog: Catalog) -> None:
    for row in table["rows"]:
        for name in (row["name"], *row.get("aliases", ())):
            assert (row["name"], row["sm"]) in {(one.name, one.sm) for one in catalog.named(name)}


def test_names_are_ambiguous_only_on_purpose(table: dict[str, Any], catalog: Catalog) -> None:
    several = {n for n in _names(table) if len({row.sm for row in catalog.named(n)}) > 1}
    assert several <= AMBIGUOUS
    assert {"RTX 6000", "TITAN X", "GeForce GTX 860M"} <= several


def test_no_model_stands_there_twice(table: dict[str, Any]) -> None:
    models = [(row["name"].lower(), row["sm"]) for row in table["rows"]]
    assert len(models) == len(set(models))


def test_the_chip_decides_the_sm(table: dict[str, Any], matrix_folder: Path) -> None:
    path = matrix_folder / "tables" / "sm.json"
    known = json.loads(path.read_text(encoding="utf-8"))["rows"]
    for row in table["rows"]:
        assert row["sm"] == table["chips"][row["chip"]]["sm"]
        assert row["sm"] in known
    assert all(chip["source"] in table["sources"] for chip in table["chips"].values())
    assert {row["chip"] for row in table["rows"]} == set(table["chips"])


def test_the_cards_without_tensor_cores_are_the_small_turing_chips(table: dict[str, Any]) -> None:
    without = {row["chip"] for row in table["rows"] if row.get("tensor_cores") is False}
    assert {"TU116", "TU117"} <= without
    assert all(table["chips"][chip]["sm"] == "7.5" for chip in without)
