"""A slip of the hand is told from a name that is new or gone."""

from __future__ import annotations

import pytest

from qdoctor import diagnose
from qdoctor.rules.misspelt import nearest


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BitssAndBytesConfig", "BitsAndBytesConfig"),
        ("BitsandBytesConfig", "BitsAndBytesConfig"),
        ("BitsAndBytsConfig", "BitsAndBytesConfig"),
        ("BitsAndByetsConfig", "BitsAndBytesConfig"),
        ("BitsAndXBytesConfig", "BitsAndBytesConfig"),
        ("prepare_model_for_kbit_trainig", "prepare_model_for_kbit_training"),
        ("BitsAndBytesConfig", None),
        ("BitsAndBytesConfigs", None),
        ("BitsAndBytes4Config", None),
        ("Qwen4Config", None),
        ("Config", None),
        ("GemmaTokenizer", None),
    ],
)
def test_a_slip_is_told_from_another_name(name: str, meant: str | None) -> None:
    known = [
        "BitsAndBytesConfig",
        "prepare_model_for_kbit_training",
        "Qwen3Config",
        "Gemma2Tokenizer",
        "Confgi",
    ]
    assert nearest(name, known) == meant


def test_two_names_that_are_as_near_decide_nothing() -> None:
    assert nearest("Abbcdefgh", ["Abcdefgh", "Abbbcdefgh"]) is None


def test_a_misspelt_import_is_the_program_s_own() -> None:
    text = "ImportError: cannot import name 'AutoModelForCasualLM' from 'transformers'"
    first = diagnose({"packages": {"transformers": "4.45.0.dev0"}}, text).findings[0]
    assert (first.rule, first.severity, first.explains_error) == ("not-environment", "note", True)
    assert "AutoModelForCausalLM" in first.title
    assert first.fixes[0].action == "change-code"


def test_a_name_that_nobody_knows_is_still_one_of_another_time() -> None:
    text = "ImportError: cannot import name 'SomethingEntirelyNew' from 'transformers'"
    assert diagnose({}, text).findings[0].rule == "accelerate-transformers-mismatch"
