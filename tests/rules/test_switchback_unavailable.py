"""switchback-unavailable: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "switchback-unavailable"

NO_TRITON = {"triton": ""}


def test_fires_without_triton(ask: Ask) -> None:
    found = ask("a100", packages=NO_TRITON)[NAME]
    assert (found.severity, found.affects) == ("note", ["bnb-switchback"])
    assert (found.fixes[0].package, found.fixes[0].spec) == ("triton", "==2.1.0")


def test_is_silent_with_triton(ask: Ask) -> None:
    assert NAME not in ask("a100")


def test_is_silent_on_a_release_without_the_layers(ask: Ask) -> None:
    assert NAME not in ask("h100", packages=NO_TRITON)


def test_is_silent_where_triton_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("a100", packages={"torch": None, "triton": None}, torch_cuda=None)


def test_the_layer_whose_product_no_release_has_is_replaced(ask: Ask) -> None:
    text = "AttributeError: module 'bitsandbytes' has no attribute 'matmul_mixed'"
    found = ask("h100", error=text, packages={"bitsandbytes": None})[NAME]
    assert found.explains_error
    assert found.fixes[0].action == "use"
    assert found.fixes[-1].action == "change-code"
