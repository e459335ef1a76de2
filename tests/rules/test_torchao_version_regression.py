"""torchao-version-regression: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "torchao-version-regression"


@pytest.mark.parametrize("version", ["0.15.0", "0.18.0"])
def test_fires_on_a_release_whose_int8_training_quantizes_nothing(version: str, ask: Ask) -> None:
    found = ask("cpu", packages={"torchao": version})[NAME]
    assert found.severity == "note"
    assert "int8 mixed-precision training" in found.title
    assert found.because[0].strength == "observed"
    code = next(one for one in found.fixes if one.action == "change-code")
    assert "module_swap=True" in code.why
    assert found.affects == []


@pytest.mark.parametrize("version", ["0.14.1", "", None, "?"])
def test_is_silent_on_others_and_where_the_release_is_unknown(
    version: str | None, ask: Ask
) -> None:
    assert NAME not in ask("cpu", packages={"torchao": version})


def test_it_is_said_after_what_somebody_may_have_asked_for(ask: Ask) -> None:
    assert list(ask("cpu", packages={"torchao": "0.18.0"}))[-1] == NAME
