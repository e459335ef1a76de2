"""expected-slowdown: where it fires, where not, and where nothing else is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.matrix import shipped
from qdoctor.model import Facts, Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "expected-slowdown"
TEXT = (
    "bitsandbytes quantization is not fully optimized yet. The speed can be slower than "
    "non-quantized models."
)
TEXTS = [
    text
    for row in shipped().table("signatures")["rows"]
    if row["rules"] == [NAME]
    for text in row["examples"]
]


@pytest.mark.parametrize("text", TEXTS)
def test_explains_its_texts_of_an_unknown_machine_as_a_note(text: str) -> None:
    found = diagnose(Facts(), error=text)[1]
    assert [(one.rule, one.severity, one.explains_error) for one in found] == [(NAME, "note", True)]
    assert found[0].fixes
    assert found[0].undecided is None


def test_is_no_error_on_a_healthy_machine(ask: Ask) -> None:
    found = ask("h100", error=TEXT)
    assert next(iter(found)) == NAME
    assert found[NAME].severity == "note"


def test_is_silent_without_a_text(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_on_another_text(ask: Ask) -> None:
    assert NAME not in ask("h100", error="ValueError: something else")
