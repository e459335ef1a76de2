"""expected-slowdown: where it fires, where not, and where nothing else is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.matrix import shipped
from qdoctor.model import Facts, Finding, Gpu

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


@pytest.mark.parametrize("gpu", ["RTX 4060 Ti", "A100-SXM4-80GB", "V100-SXM2-32GB"])
def test_a_gpu_of_which_nothing_else_is_said_is_told_what_quantization_costs(gpu: str) -> None:
    found = diagnose(Facts(gpus=[Gpu(name=gpu)]))[1]
    assert {one.severity for one in found} == {"note"}
    assert {one.fixes[0].action for one in found} == {"none"}
    assert NAME in {one.rule for one in found}


def test_what_runs_there_leaves_nothing_to_tell_in_general() -> None:
    gpus = [Gpu(name="RTX 4060 Ti")]
    assert not diagnose(Facts(gpus=gpus, packages={"torch": "2.9.0"}))[1]
    assert not diagnose(Facts(gpus=[]))[1] or NAME not in {
        one.rule for one in diagnose(Facts(gpus=[]))[1]
    }


@pytest.mark.parametrize(
    "text",
    [
        "Is the inference speed of int4 models higher?",
        "LLM.int8 reaches 20% of fp16 here",
        "W4A16: throughput has not increased",
    ],
)
def test_a_question_about_the_speed_of_a_quantized_model_is_no_fault(text: str) -> None:
    found = diagnose(Facts(), error=text)[1]
    assert [(one.rule, one.severity, one.explains_error) for one in found] == [(NAME, "note", True)]
    assert found[0].fixes[0].action == "none"
