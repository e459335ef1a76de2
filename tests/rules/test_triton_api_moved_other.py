"""triton-api-moved-other: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "triton-api-moved-other"


def test_fires_where_an_import_asks_for_a_name_of_a_newer_triton(ask: Ask) -> None:
    packages = {"torch": "2.0.1+cu117", "triton": "2.0.0", "bitsandbytes": "0.45.1"}
    found = ask("a100", packages=packages, torch_cuda="11.7")[NAME]
    assert found.severity == "error"  # bitsandbytes cannot be imported, whoever asks
    assert "bnb-nf4" in found.affects
    assert found.fixes[0].package == "bitsandbytes"


def test_is_silent_on_a_triton_with_every_name(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_where_triton_is_unknown(ask: Ask) -> None:
    packages = {"torch": None, "triton": None}
    assert NAME not in ask("a100", packages=packages, torch_cuda=None)
