"""Notices and refusals that stand in packages' own files, and are no fault of the environment."""

from __future__ import annotations

from qdoctor.diagnosis import diagnose
from qdoctor.matrix import shipped
from qdoctor.model import Facts
from qdoctor.rules.program_texts import known_texts

NOTICE = "Already found a `peft_config` attribute in the model. This will lead to having multiple"
REFUSAL = "ValueError: r should be a positive integer value but the value passed is 0"


def rules(text: str) -> list[str]:
    return [rule for signal in known_texts(text, shipped()) for rule in signal.rules]


def test_a_notice_needs_no_action() -> None:
    assert rules(NOTICE) == ["harmless-warning"]
    found = diagnose(Facts(), error=NOTICE)[1]
    assert (found[0].rule, found[0].fixes[0].action) == ("harmless-warning", "none")


def test_a_refusal_is_about_what_the_program_passes() -> None:
    assert rules(REFUSAL) == ["not-environment"]


def test_a_refusal_outranks_a_notice() -> None:
    assert rules(f"{NOTICE}\n{REFUSAL}") == ["not-environment"]


def test_a_notice_explains_no_exception_that_is_not_known() -> None:
    assert not rules(f"{NOTICE}\nStrangeError: the cat sat on the keyboard")


def test_other_words_are_nobodys() -> None:
    assert not rules("the value passed is 0")
    assert not rules("")


def test_no_text_of_the_table_speaks_of_what_is_installed() -> None:
    texts = [
        text
        for row in shipped().table("program_texts")["rows"].values()
        for kind in ("notices", "refusals")
        for text in row[kind]
    ]
    assert texts
    assert not [text for text in texts if "install" in text or "cuda" in text or "gpu" in text]


def test_a_short_refusal_counts_with_its_exception_only() -> None:
    said = "Centered RMSprop is not supported!"
    assert rules(f"NotImplementedError: {said}") == ["not-environment"]
    assert not rules(said)


def test_a_text_of_few_fixed_words_is_known_by_its_course() -> None:
    said = "ValueError: Expected out.dtype == torch.float16, got torch.float32"
    assert rules(said) == ["not-environment"]
    assert not rules(said.removeprefix("ValueError: "))
    assert not rules(said.replace("ValueError", "OddError"))
    assert not rules("ValueError: out.dtype was expected == torch.float16, got torch.float32")


def test_a_short_whole_text_is_a_whole_line() -> None:
    assert rules("ValueError: quant_state is required") == ["not-environment"]
    assert not rules("ValueError: quant_state is required by nobody here")


def test_torchs_own_checks_may_have_any_exception_before_them() -> None:
    said = "stack expects a non-empty TensorList"
    for name in ("RuntimeError", "IndexError"):
        assert rules(f"{name}: {said}") == ["not-environment"]
    assert not rules(said)


def test_no_shape_is_what_python_says_of_anything() -> None:
    shapes = [
        shape
        for row in shipped().table("program_texts")["rows"].values()
        for shape in row["shapes"]
    ]
    assert shapes
    assert not [one for one in shapes if "has no attribute" in one or "object is not" in one]
    assert not [one for one in shapes if "install" in one or "cuda" in one or "gpu" in one]
