"""quantized-training-needs-adapters: where it fires, where not, and what stays open."""

from __future__ import annotations

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts

NAME = "quantized-training-needs-adapters"
TEXT = "ValueError: You cannot perform fine-tuning on purely quantized models."


def test_asks_for_adapters() -> None:
    found = diagnose(Facts(), error=TEXT)[1]
    assert [(one.rule, one.severity, one.undecided) for one in found] == [(NAME, "error", None)]
    assert found[0].fixes[0].action == "change-code"
    assert "get_peft_model" in found[0].fixes[0].why


def test_a_stated_peft_leaves_it_decided() -> None:
    packages = {"transformers": "4.40.0", "bitsandbytes": "0.43.1", "peft": "0.10.0"}
    found = diagnose(Facts(packages=packages), error=TEXT)[1]
    assert found[0].rule == NAME


def test_gives_way_to_a_copy_of_peft() -> None:
    packages = {"transformers": "4.40.0", "bitsandbytes": "0.43.1"}
    found = diagnose(Facts(packages=packages), error=TEXT)[1]
    assert NAME not in {one.rule for one in found if one.explains_error}


def test_is_silent_without_the_text() -> None:
    assert NAME not in {one.rule for one in diagnose(Facts(), error="ValueError: no")[1]}


def test_integers_without_a_library_that_quantizes_are_the_programs_own() -> None:
    text = "RuntimeError: Only Tensors of floating point and complex dtype can require gradients"
    for packages, rule in (
        ({"torch": "1.8.0"}, "not-environment"),
        ({"torch": "2.4.0", "transformers": "4.45.0"}, NAME),
        ({}, NAME),
    ):
        found = diagnose(Facts(packages=packages), error=text)[1]
        assert [one.rule for one in found if one.explains_error] == [rule]
