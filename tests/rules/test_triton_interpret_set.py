"""triton-interpret-set: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "triton-interpret-set"
TEXT = "AttributeError: 'InterpretedFunction' object has no attribute 'cache_key'"


@pytest.mark.parametrize("value", ["1", "true", "ON"])
def test_fires_where_triton_takes_it_for_yes(ask: Ask, value: str) -> None:
    found = ask("h100", env={"TRITON_INTERPRET": value})[NAME]
    assert found.severity == "warning"
    fix = found.fixes[0]
    assert (fix.action, fix.name) == ("unset-env", "TRITON_INTERPRET")


@pytest.mark.parametrize("value", ["0", "false", ""])
def test_is_silent_where_triton_takes_it_for_no(ask: Ask, value: str) -> None:
    assert NAME not in ask("h100", error=TEXT, env={"TRITON_INTERPRET": value})


def test_is_silent_where_it_is_not_set(ask: Ask) -> None:
    assert NAME not in ask("h100", env={})


def test_is_silent_without_triton(ask: Ask) -> None:
    assert NAME not in ask("h100", env={"TRITON_INTERPRET": "1"}, packages={"triton": ""})


def test_a_text_accuses_where_the_variables_are_unknown(ask: Ask) -> None:
    assert NAME not in ask("h100", env=None)
    assert ask("h100", error=TEXT, env=None)[NAME].explains_error
