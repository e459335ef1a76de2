"""What released files print, with the least that a reporter states, leads to its cause and a fix.

``texts.jsonl`` holds one text a line: the ``text`` (null: none), the ``facts`` beside it, the
``causes`` that are right and the ``actions`` of which the first fix has to be one. The wordings are
those of the files that the row of ``signatures.json`` names, in all the releases that word them
differently. The answers were looked at one by one before they were kept: they stay right.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import qdoctor
from qdoctor.matrix import shipped

TEXTS: list[dict[str, Any]] = [
    json.loads(line)
    for line in (Path(__file__).parent / "texts.jsonl").read_text(encoding="utf-8").splitlines()
]
INSTALLING = {"install", "install-build", "install-matching", "install-system", "reinstall"}


@pytest.mark.parametrize(
    "told", TEXTS, ids=[f"{n}-{one['causes'][0]}" for n, one in enumerate(TEXTS)]
)
def test_a_text_leads_to_its_cause_and_a_fix(told: dict[str, Any]) -> None:
    facts = {"schema": "qdoctor/facts/1", **told.get("facts", {})}
    findings = qdoctor.diagnose(facts, told["text"]).findings
    answers = [one for one in findings if told["text"] is None or one.explains_error]
    assert answers[0].rule in told["causes"]
    action = answers[0].fixes[0].action
    assert action in told["actions"] or (action in INSTALLING and INSTALLING & set(told["actions"]))


def test_every_text_of_a_signature_with_a_cause_of_its_own_is_answered() -> None:
    """Each example of a row that names one rule has a finding of it, or says what would decide."""
    silent = []
    for row in shipped().table("signatures")["rows"]:
        if set(row["rules"]) <= set(row.get("confirmed", [])):
            continue  # the facts have to confirm it
        for text in row["examples"]:
            found = qdoctor.diagnose({"schema": "qdoctor/facts/1"}, text).findings
            if not any(one.explains_error for one in found):
                silent.append(row["id"])
    assert sorted(set(silent)) == []


def test_what_nobody_prints_is_answered_by_nobody() -> None:
    for text in ("the cat sat on the keyboard", "ValueError: 42", "everything is fine", "done."):
        found = qdoctor.diagnose({"schema": "qdoctor/facts/1"}, text).findings
        assert not any(one.explains_error for one in found)
