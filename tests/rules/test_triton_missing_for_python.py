"""triton-missing-for-python: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "triton-missing-for-python"


def test_fires_on_a_python_without_a_wheel(ask: Ask) -> None:
    found = ask("a100", python={"version": "3.12.4"})[NAME]
    assert found.severity == "note"
    assert found.fixes[0].action == "use-python"


def test_is_silent_on_a_python_with_one(ask: Ask) -> None:
    assert NAME not in ask("a100")


def test_is_silent_where_python_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("a100", python={"version": None})
