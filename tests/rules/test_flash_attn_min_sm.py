"""flash-attn-min-sm: where it fires, where not, and where the GPU is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "flash-attn-min-sm"
TEXT = "RuntimeError: FlashAttention only supports Ampere GPUs or newer."


def test_an_older_gpu_asks_for_another_attention(ask: Ask) -> None:
    found = ask("v100", error=TEXT)
    assert next(iter(found)) == NAME
    assert (found[NAME].severity, found[NAME].fixes[0].action) == ("error", "disable")


def test_an_unknown_gpu_is_accused_by_the_text() -> None:
    found = diagnose(Facts(), error=TEXT)[1]
    assert [(one.rule, one.explains_error) for one in found] == [(NAME, True)]


def test_a_gpu_that_is_new_enough_is_not(ask: Ask) -> None:
    assert NAME not in ask("h100", error=TEXT)


def test_is_silent_without_a_text(ask: Ask) -> None:
    assert NAME not in ask("v100")


def test_switching_it_off_comes_before_other_hardware(ask: Ask) -> None:
    actions = [one.action for one in ask("v100", error=TEXT)[NAME].fixes]
    assert actions == ["disable", "change-hardware"]
