"""Answers to texts, and the names that come and go, agree with themselves and with one another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from qdoctor.model import Action
from qdoctor.rules.program_texts import RULES
from qdoctor.shipped import matrix_folder

if TYPE_CHECKING:
    from collections.abc import Iterator


def table(name: str) -> dict[str, Any]:
    path = matrix_folder() / "tables" / f"{name}.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


ANSWERS = table("answers")["rows"]
NAMES = table("api_names")["rows"]
SIGNATURES = {row["id"]: row["rules"] for row in table("signatures")["rows"]}
SIGNATURES |= {signature: [rule] for signature, rule in RULES.values()}


def named(rows: list[dict[str, Any]]) -> list[str]:
    return [f"{row['rule']}-{row.get('name') or row['texts'][0]}" for row in rows]


@pytest.mark.parametrize("row", ANSWERS, ids=named(ANSWERS))
def test_an_answer_names_texts_that_name_its_rule(row: dict[str, Any]) -> None:
    assert all(row["rule"] in SIGNATURES[text] for text in row["texts"])


@pytest.mark.parametrize("row", ANSWERS, ids=named(ANSWERS))
def test_a_fix_is_an_action_of_the_contract_and_its_spec_allows_something(
    row: dict[str, Any],
) -> None:
    for fix in row["fixes"]:
        assert fix["action"] in get_args(Action)
        assert ("spec" in fix) <= ("package" in fix)
        SpecifierSet(fix.get("spec", ""))


def test_no_text_has_two_answers_of_one_rule_for_one_machine() -> None:
    keys = [
        (text, row["rule"], gpu, tuple(row.get("where", {}).items()), *row.get("system", ()))
        for row in ANSWERS
        for text in row["texts"]
        for gpu in ([row["gpu"]] if "gpu" in row else ["known", "unknown"])
    ]
    assert len(keys) == len(set(keys))


def test_an_answer_for_stated_releases_stands_above_that_for_all() -> None:
    for place, row in enumerate(ANSWERS):
        above = [one for one in ANSWERS[:place] if one["rule"] == row["rule"]]
        told = [one for one in above if set(one["texts"]) & set(row["texts"])]
        assert "where" not in row or all("where" in one for one in told)


def spans(row: dict[str, Any]) -> Iterator[Version]:
    for key in ("before", "since", "last", "removed"):
        if key in row:
            yield Version(row[key])


@pytest.mark.parametrize("row", NAMES, ids=named(NAMES))
def test_a_name_comes_before_it_goes(row: dict[str, Any]) -> None:
    found = list(spans(row))
    assert found == sorted(set(found))
    assert ("before" in row, "removed" in row) == ("since" in row, "last" in row)


@pytest.mark.parametrize("row", NAMES, ids=named(NAMES))
def test_a_name_that_never_was_or_has_gone_is_called_something_else(row: dict[str, Any]) -> None:
    assert "since" in row or "instead" in row
