"""bnb-version-regression: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "bnb-version-regression"


def test_fires_on_a_release_without_4_bit_layers(ask: Ask) -> None:
    found = ask("a100", packages={"bitsandbytes": "0.38.1"})[NAME]
    assert "bnb-nf4" in found.affects
    assert (found.fixes[0].action, found.fixes[0].package) == ("upgrade", "bitsandbytes")


def test_is_silent_on_a_release_with_them(ask: Ask) -> None:
    assert NAME not in ask("a100")


def test_is_silent_where_bitsandbytes_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("a100", packages={"bitsandbytes": None})
