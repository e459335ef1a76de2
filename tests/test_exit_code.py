from __future__ import annotations

from itertools import product

import pytest

from qdoctor.exit_code import FailOn, Need, could_not_tell, exit_code, needs
from qdoctor.model import Expected, Facts, Finding, Gpu, Observation, OutcomeKind, Severity, Verdict


def finding(severity: Severity) -> Finding:
    return Finding(rule="some-rule", severity=severity, title="something")


def seen(
    outcome: OutcomeKind, expected: Expected = "unknown", code: str | None = None
) -> Observation:
    return Observation(probe="half_gemm", outcome=outcome, expected=expected, code=code)


@pytest.mark.parametrize(
    ("severity", "fail_on", "expected"),
    [
        ("error", "error", 1),
        ("warning", "error", 0),
        ("note", "error", 0),
        ("error", "warning", 1),
        ("warning", "warning", 1),
        ("note", "warning", 0),
        ("error", "never", 0),
    ],
)
def test_severity_against_fail_on(severity: Severity, fail_on: FailOn, expected: int) -> None:
    assert exit_code([finding(severity)], [], [], fail_on) == expected


def test_precedence_over_all_combinations() -> None:
    findings = [[], [finding("error")]]
    observations = [[], [seen("timed-out")]]
    wanted = [
        [],
        [Need("half", "no", "")],
        [Need("half", "unknown", "")],
        [Need("half", "yes", "")],
    ]
    for found, ran, need in product(findings, observations, wanted):
        code = exit_code(found, ran, need, "error")
        failing = bool(found) or any(one.met == "no" for one in need)
        unclear = bool(ran) or any(one.met == "unknown" for one in need)
        assert code == (1 if failing else 3 if unclear else 0)
        assert exit_code(found, ran, need, "never") == 0


def test_a_skipped_probe_could_not_run_here_so_it_is_no_silence() -> None:
    assert exit_code([], [seen("skipped")], [], "error") == 0
    assert could_not_tell([seen("failed", code="no-answer")], [])


VERDICTS = [
    Verdict(backend="half", usable="yes", reason="works"),
    Verdict(backend="bnb-int8", usable="no", reason="too old a GPU"),
    Verdict(backend="torch-fp8", usable="unknown", reason="no GPU stated"),
]


def test_a_backend_is_answered_by_its_verdict() -> None:
    names = ["half", "bnb-int8", "torch-fp8", "half"]
    assert [(one.name, one.met) for one in needs(names, Facts(), [], VERDICTS)] == [
        ("half", "yes"),
        ("bnb-int8", "no"),
        ("torch-fp8", "unknown"),
    ]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (Facts(), "unknown"),
        (Facts(gpus=[]), "no"),
        (Facts(gpus=[Gpu(name="Tesla T4")]), "yes"),
        (Facts(gpus=[Gpu(name="Radeon", vendor="amd")]), "no"),
        (Facts(gpus=[Gpu(name="Tesla T4", visible=False)]), "no"),
    ],
)
def test_the_need_for_a_gpu(facts: Facts, expected: str) -> None:
    assert [one.met for one in needs(["gpu"], facts, [], [])] == [expected]


@pytest.mark.parametrize(
    ("observations", "expected"),
    [
        ([], "unknown"),
        ([seen("skipped")], "unknown"),
        ([seen("skipped", code="budget")], "unknown"),
        ([seen("skipped", code="package-missing")], "no"),
        ([seen("skipped", code="no-gpu")], "no"),
        ([seen("skipped", code="no-driver")], "no"),
        ([seen("skipped", code="torch-cpu-only")], "no"),
        ([seen("skipped", code="python-unsupported")], "no"),
        ([seen("skipped", code="no-gpu"), seen("skipped", code="budget")], "unknown"),
        ([seen("skipped", code="no-gpu"), seen("passed")], "yes"),
        ([seen("timed-out")], "unknown"),
        ([seen("failed", code="no-answer")], "unknown"),
        ([seen("passed")], "yes"),
        ([seen("passed"), seen("failed", "fail")], "yes"),
        ([seen("passed"), seen("failed", "pass")], "no"),
        ([seen("passed"), seen("wrong")], "no"),
        ([seen("crashed")], "no"),
        ([seen("failed", "fail")], "no"),
    ],
)
def test_the_need_for_a_probe(observations: list[Observation], expected: str) -> None:
    assert [one.met for one in needs(["half_gemm"], Facts(), observations, [])] == [expected]
