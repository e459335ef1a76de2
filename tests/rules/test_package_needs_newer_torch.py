"""package-needs-newer-torch: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "package-needs-newer-torch"

OLD_TORCH = {"torch": "1.13.1+cu117", "triton": "", "bitsandbytes": "0.50.2"}


def test_fires_on_an_older_torch(ask: Ask) -> None:
    found = ask("a100", packages=OLD_TORCH, torch_cuda="11.7")[NAME]
    assert found.severity == "warning"
    assert found.fixes[0].action == "downgrade"


def test_is_silent_on_a_torch_that_is_accepted(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_where_torch_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("h100", packages={"torch": None}, torch_cuda=None)
