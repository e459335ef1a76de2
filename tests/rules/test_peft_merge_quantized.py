"""peft-merge-quantized: where it fires, where not, and where the release is unknown."""

from __future__ import annotations

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding

NAME = "peft-merge-quantized"
TEXT = "ValueError: Cannot merge LORA layers when the model is loaded in 8-bit mode"


def first(**packages: str) -> Finding:
    return diagnose(Facts(packages=packages or None), error=TEXT)[1][0]


def test_an_old_peft_is_worked_around_or_upgraded() -> None:
    found = first(peft="0.4.0")
    assert (found.rule, found.severity) == (NAME, "error")
    assert [fix.action for fix in found.fixes] == ["change-code", "upgrade"]


def test_an_unknown_peft_is_offered_the_same() -> None:
    assert [fix.action for fix in first().fixes] == ["change-code", "upgrade"]


def test_a_new_peft_is_not_upgraded() -> None:
    assert [fix.action for fix in first(peft="0.12.0").fixes] == ["change-code"]


def test_is_silent_without_the_text() -> None:
    assert diagnose(Facts(packages={"peft": "0.4.0"}))[1] == []
