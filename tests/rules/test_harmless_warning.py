"""harmless-warning: where it fires, where not, and where nothing else is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.matrix import shipped
from qdoctor.model import Facts, Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "harmless-warning"
TRITON = (
    "A matching Triton is not available, some optimizations will not be enabled.\n"
    "Error caught was: No module named 'triton'"
)
TEXTS = [
    text
    for row in shipped().table("signatures")["rows"]
    if row["rules"][0] == NAME
    for text in row["examples"]
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_harmless_text_stays_a_note_with_nothing_to_fix(text: str) -> None:
    found = diagnose(Facts(), error=text)[1]
    assert [(one.rule, one.severity, one.explains_error) for one in found] == [(NAME, "note", True)]
    assert found[0].undecided is None
    assert found[0].fixes[0].action == "none"


def test_is_no_error_on_a_healthy_machine_either(ask: Ask) -> None:
    found = ask("h100", error=TRITON)
    assert next(iter(found)) == NAME
    assert found[NAME].severity == "note"


def test_is_silent_where_a_failure_stands_in_the_same_log(ask: Ask) -> None:
    log = f"{TRITON}\nModuleNotFoundError: No module named 'triton.ops'"
    assert NAME not in ask("h100", error=log)


def test_is_silent_without_a_text(ask: Ask) -> None:
    assert NAME not in ask("h100")
