"""triton-math-moved: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "triton-math-moved"

TEXT = "AttributeError: module 'triton.language.math' has no attribute 'tanh'"


def test_a_text_accuses_where_bitsandbytes_is_unknown(ask: Ask) -> None:
    assert ask("a100", error=TEXT, packages={"bitsandbytes": None})[NAME].explains_error


def test_a_bitsandbytes_that_finds_its_names_is_not_the_one(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_without_the_text_where_triton_is_unknown(ask: Ask) -> None:
    packages = {"torch": None, "triton": None}
    assert NAME not in ask("a100", packages=packages, torch_cuda=None)


def test_code_that_nobody_knows_is_told_where_the_function_is_now(ask: Ask) -> None:
    text = "AttributeError: module 'triton.language.math' has no attribute 'tanh'"
    found = ask("h100", error=text, packages={"bitsandbytes": None})[NAME]
    assert found.fixes[0].action == "change-code"
    assert "triton.language.extra" in found.fixes[0].why
