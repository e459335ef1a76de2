"""no-c-compiler: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "no-c-compiler"


def test_fires_where_kernels_are_started(ask: Ask) -> None:
    found = ask("h100", host={"c_compiler": False})[NAME]
    assert found.severity == "warning"
    assert (found.fixes[0].action, found.fixes[0].name) == ("install-system", "gcc")


def test_is_silent_where_it_is_there(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_without_a_gpu(ask: Ask) -> None:
    assert NAME not in ask("cpu", host={"c_compiler": False})


def test_is_silent_where_it_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("h100", host={"c_compiler": None})


def test_a_text_accuses_where_it_is_unknown(ask: Ask) -> None:
    text = "RuntimeError: Failed to find C compiler. Please specify via CC environment variable."
    assert ask("h100", error=text, host={"c_compiler": None})[NAME].explains_error
