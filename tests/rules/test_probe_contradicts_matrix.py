"""probe-contradicts-matrix: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding, Observation

Ask = Callable[..., dict[str, Finding]]

NAME = "probe-contradicts-matrix"

PASSED = Observation(probe="half_gemm", outcome="passed", device="cuda:0", expected="pass")
WRONG = Observation(probe="half_gemm", outcome="wrong", device="cuda:0", expected="pass")
LUCKY = Observation(probe="cublaslt_igemm", outcome="passed", variant="col32", expected="fail")
UNEXPECTED = Observation(probe="half_gemm", outcome="failed", expected="unknown")


def test_a_failure_against_expectation_is_an_error(ask: Ask) -> None:
    found = ask("h100", observations=(WRONG,))[NAME]
    assert found.severity == "error"
    assert "half_gemm" in found.affects
    assert found.because[0].strength == "observed"


def test_a_pass_against_expectation_is_a_note(ask: Ask) -> None:
    assert ask("h100", observations=(LUCKY,))[NAME].severity == "note"


def test_a_fact_that_the_data_has_otherwise_is_a_note(ask: Ask) -> None:
    found = ask("h100", torch_arch_list=["sm_90"])[NAME]
    assert found.severity == "note"
    assert {one.strength for one in found.because} == {"inspected", "mined"}


def test_is_silent_where_a_probe_did_what_was_expected(ask: Ask) -> None:
    refused = Observation(probe="cublaslt_igemm", outcome="failed", expected="fail")
    assert NAME not in ask("h100", observations=(PASSED, refused))


def test_is_silent_where_nothing_was_expected(ask: Ask) -> None:
    assert NAME not in ask("h100", observations=(UNEXPECTED,))
