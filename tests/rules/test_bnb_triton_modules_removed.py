"""bnb-triton-modules-removed: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "bnb-triton-modules-removed"


def test_fires_on_a_release_without_the_layers(ask: Ask) -> None:
    found = ask("h100")[NAME]
    assert (found.severity, found.affects) == ("note", ["bnb-switchback"])
    assert found.fixes[0].action == "use"


def test_explains_the_missing_module(ask: Ask) -> None:
    text = "AttributeError: module 'bitsandbytes.nn' has no attribute 'triton_based_modules'"
    found = ask("h100", error=text)[NAME]
    assert (found.explains_error, found.severity) == (True, "error")


def test_is_silent_on_a_release_with_them(ask: Ask) -> None:
    assert NAME not in ask("a100")


def test_is_silent_where_bitsandbytes_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("h100", packages={"bitsandbytes": None})
