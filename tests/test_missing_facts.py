from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import qdoctor
from qdoctor import layers, missing_facts
from qdoctor.machine import Machine, complete
from qdoctor.matrix import shipped
from qdoctor.missing_facts import with_missing_facts
from qdoctor.model import Facts, Finding, from_plain

PACKAGES: dict[str, str] = {"torch": "2.7.1", "triton": "3.3.1", "bitsandbytes": "0.46.0"}
OUTSIDE_THE_FACTS = ("multiplies", "int8 path runs", "elsewhere is not known")
"""What the matrix does not know of a release: no fact of the machine would tell it."""


def machine(**facts: object) -> Machine:
    return complete(from_plain(facts, Facts, "test"), shipped())


@pytest.mark.parametrize(
    "patient",
    [
        {},
        {"packages": PACKAGES},
        {"packages": PACKAGES, "host": {"os": "linux"}},
        {"packages": PACKAGES | {"torch": "?"}, "gpus": [{"name": "Tesla V100-SXM2-16GB"}]},
        {"packages": PACKAGES, "gpus": [{"name": "NVIDIA RTX 9999 of the future"}]},
    ],
)
def test_whatever_a_layer_lacks_is_a_fact_that_can_be_told(patient: dict[str, Any]) -> None:
    patient_ = machine(**patient)
    questions = [getattr(layers, name) for name in layers.__all__ if name[0].islower()]
    asked = [layer for layer in questions if layer is not layers.together]
    open_ones = [
        answer.reason
        for layer in asked
        if (answer := layer(patient_, shipped())).value == "unknown"
    ]
    assert open_ones
    for reason in open_ones:
        if not any(words in reason for words in OUTSIDE_THE_FACTS):
            finding = Finding(rule="x", severity="note", title="", undecided=reason)
            assert with_missing_facts([finding], patient_)[0].decided_by, reason


def test_the_fact_that_is_asked_for_stands_before_its_own_reason() -> None:
    reason = machine().torch_cuda.reason
    assert machine().torch.reason in reason, "the case that this is about"
    finding = Finding(rule="x", severity="note", title="", undecided=reason)
    told = with_missing_facts([finding], machine())[0].decided_by
    assert told is not None
    assert told.fact == "torch_cuda"
    assert "torch.version.cuda" in told.how


def test_what_is_decided_or_lacks_no_fact_names_none() -> None:
    sure = Finding(rule="x", severity="error", title="which GPUs are there is not known")
    person = Finding(rule="x", severity="note", title="", undecided="what the program was to do")
    assert with_missing_facts([sure, person], machine()) == [sure, person]


def test_words_that_stand_for_facts_are_words_of_layers_and_rules() -> None:
    package = Path(qdoctor.__file__).parent
    sources = [
        path.read_text()
        for stage in ("layers", "rules")
        for path in (package / stage).iterdir()
        if path.suffix == ".py"
    ]
    for words in missing_facts._OTHERS:
        assert any(words in source for source in sources), words


@pytest.mark.parametrize(
    ("facts", "error", "told"),
    [
        (
            {"host": {"os": "windows"}},
            "RuntimeError: No GPU found. A GPU is needed for quantization.",
            {"torch_cuda": ""},
        ),
        (
            {"host": {"os": "windows"}, "gpus": [{"name": "RTX 5070"}]},
            "CUDA error: no kernel image is available for execution on the device",
            {"torch_arch_list": ["sm_80", "sm_90"]},
        ),
        (
            {"packages": {"triton": "2.2.0"}},
            "RuntimeError: Triton Error [CUDA]: device kernel image is invalid",
            {"torch_cuda": ""},
        ),
        ({}, "RuntimeError: 0 active drivers ([]). There should only be one.", {"gpus": []}),
    ],
)
def test_the_named_fact_does_decide(
    facts: dict[str, Any], error: str, told: dict[str, Any]
) -> None:
    before = next(one for one in qdoctor.diagnose(facts, error).findings if one.explains_error)
    assert before.decided_by is not None, before.rule
    assert before.decided_by.fact in told
    after = next(
        one for one in qdoctor.diagnose({**facts, **told}, error).findings if one.explains_error
    )
    assert (after.undecided, after.decided_by) == (None, None)
