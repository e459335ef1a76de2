"""What people make of a text in a title, or paste of it, leads to the cause of the whole text.

``titles.jsonl`` has the format of ``texts.jsonl``. The lines were made up from the vocabulary of
causes and from what released files print: shortened, cut, without quotes or the exception's name,
wrapped, with a GPU or a release beside them or nothing. Causes were written down before they were
asked.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import qdoctor

TITLES: list[dict[str, Any]] = [
    json.loads(line)
    for line in (Path(__file__).parent / "titles.jsonl").read_text(encoding="utf-8").splitlines()
]


@pytest.mark.parametrize(
    "told", TITLES, ids=[f"{n}-{t['causes'][0]}" for n, t in enumerate(TITLES)]
)
def test_a_title_leads_to_the_cause_of_the_text_that_it_stands_for(told: dict[str, Any]) -> None:
    facts = {"schema": "qdoctor/facts/1", **told.get("facts", {})}
    findings = qdoctor.diagnose(facts, told["text"]).findings
    first = next(one for one in findings if one.explains_error)
    assert first.rule in told["causes"]
    assert first.fixes[0].action in told["actions"]
