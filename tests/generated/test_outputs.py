"""Healthy machines are accused of nothing, whatever their programs print and their owners ask."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

import qdoctor
from qdoctor.matrix import shipped
from tests.generated.machines import healthy
from tests.generated.outputs import outputs, shown, stated_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdoctor.model import Facts

HARMLESS = {"harmless-warning", "expected-slowdown", "version-misreading", "not-environment"}
EACH = 2
READINGS: dict[str, Callable[[str], str]] = {
    "as printed": str,
    "in small letters": str.lower,
    "as one line": lambda text: " ".join(text.split()),
    "without quotes": lambda text: text.translate(str.maketrans("", "", "'`\"")),
    "in a question": lambda text: f"Hi, is this a problem?\n\n```\n{text}\n```\nThanks",
}
ROWS: list[dict[str, Any]] = shipped().table("signatures")["rows"]
NOTICES = {
    f"{row['id']}-{number}": text
    for row in ROWS
    if row.get("role") == "notice"
    and set(row["rules"]) <= HARMLESS
    and "(?P<" not in row["pattern"]
    for number, text in enumerate(row["examples"])
}
"""Notices that state nothing of the machine which prints them: any may."""


def accused(facts: Facts, text: str) -> list[str]:
    """Return what is said to be wrong: louder than a note, or to explain the text."""
    return [
        f"{one.rule}: {one.title}"
        for one in qdoctor.diagnose(facts, text).findings
        if one.severity != "note" or (one.explains_error and one.rule not in HARMLESS)
    ]


@pytest.mark.parametrize("reading", READINGS)
def test_an_ordinary_text_accuses_no_healthy_machine(reading: str) -> None:
    alarms = {
        one.what: found
        for one in shown(EACH, len(reading))
        if (found := accused(one.facts, READINGS[reading](one.text)))
    }
    assert alarms == {}


def test_a_notice_accuses_no_machine_of_which_something_is_stated() -> None:
    rng = random.Random(5)  # noqa: S311 - nothing secret hangs on these numbers
    machines = healthy(len(NOTICES), 5)
    alarms = {
        name: found
        for (name, text), facts in zip(NOTICES.items(), machines, strict=True)
        if (found := accused(stated_of(facts, rng), text))
    }
    assert alarms == {}


def test_every_text_has_a_name_of_its_own_and_some_words() -> None:
    assert len(outputs()) > 100
    assert all(text.strip() for text in outputs().values())


def test_the_same_seed_shows_the_same_texts_beside_the_same_machines() -> None:
    assert list(shown(1, 2)) == list(shown(1, 2))
    assert list(shown(1, 2)) != list(shown(1, 3))
