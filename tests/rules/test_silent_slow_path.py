"""silent-slow-path: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding, Observation

Ask = Callable[..., dict[str, Finding]]

NAME = "silent-slow-path"

SLOW = Observation(
    probe="cublaslt_igemm",
    outcome="wrong",
    code="silent-slow-path",
    path_taken="fp32",
    expected="pass",
)


def test_fires_on_right_numbers_by_the_wrong_path(ask: Ask) -> None:
    found = ask("h100", observations=(SLOW,))
    assert found[NAME].severity == "warning"
    assert "fp32" in found[NAME].title
    assert "probe-contradicts-matrix" not in found


def test_is_silent_on_the_right_path(ask: Ask) -> None:
    passed = Observation(probe="cublaslt_igemm", outcome="passed", expected="pass")
    assert NAME not in ask("h100", observations=(passed,))


def test_is_silent_where_nothing_ran(ask: Ask) -> None:
    assert NAME not in ask("h100")
