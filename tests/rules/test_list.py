"""The list of rules, their documentation, and what else names a rule."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qdoctor import rules
from qdoctor.matrix import shipped
from qdoctor.rules import RULES

if TYPE_CHECKING:
    from qdoctor.rules.case import Rule

SECTIONS = ("What it finds", "Why it hurts", "How we know", "Fix", "When to ignore")
FOLDER = Path(rules.__file__).parent
NAMES = [rule.name for rule in RULES]


def test_every_rule_is_listed_once() -> None:
    assert len(set(NAMES)) == len(NAMES)


def test_every_file_of_a_rule_is_in_the_list() -> None:
    defining = {path.stem for path in FOLDER.glob("*.py") if "\nRULE = " in path.read_text()}
    assert defining == {name.replace("-", "_") for name in NAMES}


def test_every_rule_has_its_own_tests() -> None:
    missing = [
        name
        for name in NAMES
        if not (Path(__file__).parent / f"test_{name.replace('-', '_')}.py").exists()
    ]
    assert missing == []


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_the_documentation_is_complete(rule: Rule) -> None:
    title, *parts = rule.doc.split("\n## ")
    assert title.strip().endswith(".")
    assert [part.partition("\n")[0] for part in parts] == list(SECTIONS)
    assert all(part.partition("\n")[2].strip() for part in parts)


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_symptoms_name_rules(rule: Rule) -> None:
    assert set(rule.symptom_of) <= set(NAMES) - {rule.name}


def test_signatures_name_rules() -> None:
    named = {name for row in shipped().table("signatures")["rows"] for name in row["rules"]}
    assert named <= set(NAMES)
