"""quantized-model-moved: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "quantized-model-moved"

TEXT = (
    "The module 'FluxTransformer2DModel' has been loaded in `bitsandbytes` "
    "8bit and moving it to cpu via `.to()` is not supported."
)


def test_names_what_to_leave_out(ask: Ask) -> None:
    first = next(iter(ask("s4-diffusers-moved", error=TEXT).values()))
    assert (first.rule, first.explains_error, first.severity) == (NAME, True, "error")
    assert first.fixes[0].action == "change-code"


def test_offers_a_newer_bitsandbytes_only_where_it_is_older_or_unknown() -> None:
    text = "ValueError: Calling `to()` is not supported for `4-bit` quantized models"
    for version, offered in (("0.42.0", True), ("0.45.0", False), ("?", True)):
        found = diagnose(Facts(packages={"bitsandbytes": version}), error=text)[1]
        moved = next(one for one in found if one.rule == NAME)
        assert ("upgrade" in {fix.action for fix in moved.fixes}) is offered


def test_is_silent_on_another_text(ask: Ask) -> None:
    assert NAME not in ask("s4-diffusers-moved", error="TypeError: something else")


def test_is_silent_without_a_text(ask: Ask) -> None:
    assert NAME not in ask("s4-diffusers-moved")


AGAIN = (
    "ValueError: Blockwise 4bit quantization only supports 16/32-bit floats, but got torch.uint8"
)


@pytest.mark.parametrize(
    ("release", "action"),
    [
        ("0.45.3", "upgrade"),
        ("0.46.0", "upgrade"),
        ("0.46.1", "change-code"),
        ("0.45.3.dev0", "change-code"),  # of no release: its files are not known
        (None, "change-code"),
    ],
)
def test_a_release_that_forgets_that_a_moved_weight_is_quantized_is_upgraded(
    release: str | None, action: str, ask: Ask
) -> None:
    found = next(iter(ask("a100", error=AGAIN, packages={"bitsandbytes": release}).values()))
    assert (found.rule, found.fixes[0].action) == (NAME, action)
    assert action != "upgrade" or found.fixes[0].spec == ">=0.46.1"
