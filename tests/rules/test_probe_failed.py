"""probe-failed: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding, Observation

Ask = Callable[..., dict[str, Finding]]

NAME = "probe-failed"

SILENT = Observation(probe="half_gemm", outcome="timed-out", code="timed-out", expected="pass")
UNEXPECTED = Observation(probe="half_gemm", outcome="crashed", expected="unknown")


def test_a_probe_without_an_answer_is_a_warning(ask: Ask) -> None:
    found = ask("h100", observations=(SILENT,))
    assert found[NAME].severity == "warning"
    assert "probe-contradicts-matrix" not in found


def test_is_an_error_where_the_probe_is_needed(ask: Ask) -> None:
    assert ask("h100", observations=(SILENT,), need=("half_gemm",))[NAME].severity == "error"


def test_a_failing_baseline_is_an_error_for_everyone(ask: Ask) -> None:
    assert ask("h100", observations=(UNEXPECTED,))[NAME].severity == "error"


def test_another_failure_that_nothing_was_expected_of_is_a_warning(ask: Ask) -> None:
    other = Observation(probe="triton_libdevice", outcome="crashed", expected="unknown")
    assert ask("h100", observations=(other,))[NAME].severity == "warning"


def test_is_silent_where_probes_passed_or_were_skipped(ask: Ask) -> None:
    skipped = Observation(probe="half_gemm", outcome="skipped", code="no-gpu", ran=False)
    passed = Observation(probe="half_gemm", outcome="passed", expected="pass")
    assert NAME not in ask("h100", observations=(skipped, passed))


def test_is_silent_without_probes(ask: Ask) -> None:
    assert NAME not in ask("h100")
