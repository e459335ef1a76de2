"""not-environment: where it fires, where not, and where nothing else is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.matrix import shipped
from qdoctor.model import Facts, Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "not-environment"
TEXT = "RuntimeError: CUDA error: device-side assert triggered"
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


def test_who_states_the_full_gpu_is_offered_another_program_before_another_gpu(ask: Ask) -> None:
    actions = [one.action for one in ask("h100", error="CUDA out of memory")[NAME].fixes]
    assert (actions[0], actions[-1]) == ("change-code", "change-hardware")


def test_a_pointer_in_place_of_weights_is_fetched_first() -> None:
    text = "safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge"
    assert diagnose(Facts(), error=text)[1][0].fixes[0].action == "run"


@pytest.mark.parametrize(
    ("owner", "peft", "rule"),
    [
        ("BirdForCausalLM", "0.11.1", NAME),
        ("BirdForCausalLM", "0.2.0", "peft-too-old"),
        ("BirdForCausalLM", None, "peft-too-old"),
        ("PeftModelForCausalLM", "0.11.1", "stale-package-shadowing"),
    ],
)
def test_a_method_of_peft_is_asked_of_the_model_inside(
    owner: str, peft: str | None, rule: str
) -> None:
    """A PeftModel hands on what it lacks: an older peft and a bare model say the same."""
    text = f"AttributeError: '{owner}' object has no attribute 'add_weighted_adapter'"
    facts = Facts(packages={"peft": peft} if peft else None)
    found = diagnose(facts, error=text)[1]
    assert found[0].rule == rule


@pytest.mark.parametrize(
    "text",
    [
        "RuntimeError: FlashAttention forward only supports head dimension at most 256",
        "triton.compiler.errors.CompilationError: NameError('tl is not defined')",
        "torch._dynamo.exc.InternalTorchDynamoError: 'NoneType' object is not subscriptable",
    ],
)
def test_arguments_and_code_are_no_fault_of_the_installation(text: str) -> None:
    assert diagnose(Facts(), error=text)[1][0].rule == NAME


@pytest.mark.parametrize(
    "text", ["Does it run on 8 Vram?", "how much vram do i need for fine tuning or inference?"]
)
def test_a_question_about_memory_is_answered_by_what_needs_less(text: str) -> None:
    assert diagnose(Facts(), error=text)[1][0].fixes[0].action == "change-code"


def test_a_full_gpu_that_only_mentions_its_memory_is_no_question() -> None:
    found = diagnose(Facts(), error="RuntimeError: weights of 12 GB VRAM not found?")[1]
    assert not any("its own affair" in one.title for one in found)


def test_a_models_configuration_is_no_adapter() -> None:
    text = "TypeError: {}.__init__() got an unexpected keyword argument '{}'"
    for asked in ("PeftConfig", "LoraConfig"):
        found = diagnose(Facts(), error=text.format(asked, "_name_or_path"))[1][0]
        assert (found.rule, found.fixes[0].action) == (NAME, "change-code")
    assert diagnose(Facts(), error=text.format("LoraConfig", "eva_config"))[1][0].rule != NAME


def test_gpus_that_are_not_filled_alike_are_spread_over_by_the_program() -> None:
    text = "imbalance GPU memory usage: the first GPU consume 2x memory than the others"
    found = diagnose(Facts(), error=text)[1]
    assert [(one.rule, one.fixes[0].action) for one in found] == [(NAME, "change-code")]


@pytest.mark.parametrize("layer", ["MarlinQuantLinear", "HQQLinear", "WQLinear_GEMM"])
def test_a_packed_layer_holds_no_weight(layer: str) -> None:
    found = diagnose(Facts(), error=f"'{layer}' object has no attribute 'weight'")[1][0]
    assert (found.rule, found.fixes[0].action) == (NAME, "change-code")


@pytest.mark.parametrize("layer", ["Linear4bit", "ColumnParallelLinear"])
def test_any_other_layer_may_lack_its_weight_for_another_reason(layer: str) -> None:
    found = diagnose(Facts(), error=f"'{layer}' object has no attribute 'weight'")[1]
    assert NAME not in [one.rule for one in found]
