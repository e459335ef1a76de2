"""Asks the whole diagnosis about a described machine, changed as a test needs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding, Observation, from_plain

if TYPE_CHECKING:
    from pathlib import Path

Ask = Callable[..., dict[str, Finding]]


@pytest.fixture
def ask(machines: Path) -> Ask:
    """``ask("h100", packages={"triton": None}, error=...)`` -> findings by rule, in order.

    A dict is laid over the machine's own; a value of None makes a fact unknown.
    """

    def findings(
        machine: str,
        error: str | None = None,
        observations: tuple[Observation, ...] = (),
        need: tuple[str, ...] = (),
        **changes: Any,  # noqa: ANN401 - whatever JSON holds
    ) -> dict[str, Finding]:
        plain = json.loads((machines / "described" / f"{machine}.json").read_text())
        facts = from_plain(_laid_over(plain, changes), Facts, machine)
        found = diagnose(facts, observations, error, need)[1]
        return _by_rule(found)

    return findings


def _by_rule(found: list[Finding]) -> dict[str, Finding]:
    rules: dict[str, Finding] = {}
    for one in found:
        rules.setdefault(one.rule, one)
    return rules


def _laid_over(plain: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    for key, change in changes.items():
        if isinstance(change, dict):
            merged = {**(plain.get(key) or {}), **change}
            plain[key] = {name: value for name, value in merged.items() if value is not None}
        else:
            plain[key] = change
    return plain
