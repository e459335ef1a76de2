"""What a plan brings beside the packages that the matrix judges, over a fresh environment."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from qdoctor.doctor import examine
from qdoctor.question import Question

if TYPE_CHECKING:
    from qdoctor.model import Report

FRESH = dict.fromkeys(("torch", "triton", "bitsandbytes", "torchao", "numpy", "scipy", "peft"), "")
WHOLE = {"torch": "2.9.1", "triton": "3.5.1", "packaging": "26.0", "typing-extensions": "4.15.0"}


def judged(*specs: str, over: dict[str, str] | None = None, **facts: Any) -> Report:  # noqa: ANN401
    """The report on ``specs`` laid over an environment whose whole content is known."""
    machine = {
        "host": {"os": "linux", "machine": "x86_64", "libc": "glibc 2.35", "c_compiler": True},
        "python": {"version": "3.11.7", "headers": True},
        "packages": {**FRESH, **(over or {})},
        **facts,
    }
    question = Question(facts_file="-", specs=specs, gpu="A100")
    return examine(question, stdin=io.BytesIO(json.dumps(machine).encode()))


def steps(report: Report) -> tuple[str, str, str]:
    plan = report.plan
    assert plan is not None
    return plan.installs.answer, plan.imports.answer, plan.runs.answer


def test_what_a_planned_release_requires_is_not_missing_in_a_fresh_environment() -> None:
    """bitsandbytes 0.50.2 requires numpy and torch: an installer takes both along."""
    report = judged("bitsandbytes==0.50.2")
    assert steps(report) == ("yes", "yes", "yes")
    assert "python-module-missing" not in {one.rule for one in report.findings}
    assert report.facts.packages is not None
    assert report.facts.packages["numpy"] == "?"
    assert report.exit_code == 0


def test_what_nothing_planned_requires_is_still_missing() -> None:
    """bitsandbytes 0.41.1 imports scipy and requires nothing, torch brings none."""
    report = judged("torch==2.0.1", "bitsandbytes==0.41.1")
    assert steps(report) == ("yes", "no", "no")
    assert "python-module-missing" in {one.rule for one in report.findings}


def test_what_a_required_package_brings_is_open() -> None:
    """bitsandbytes 0.42.0 requires scipy alone; whether scipy brings numpy is not in the matrix."""
    report = judged("torch==2.0.1", "bitsandbytes==0.42.0")
    assert report.facts.packages is not None
    assert report.facts.packages["scipy"] == "?"
    assert "numpy" not in report.facts.packages
    assert "python-module-missing" not in {one.rule for one in report.findings}


def test_such_a_package_is_not_taken_to_bring_torch() -> None:
    report = judged("bitsandbytes==0.42.0")
    assert report.facts.packages is not None
    assert not report.facts.packages["torch"]
    assert steps(report)[1:] == ("no", "no")


@pytest.mark.parametrize("spec", ["bitsandbytes==99", "somepackage==1.0"])
def test_what_is_not_known_may_bring_anything(spec: str) -> None:
    """An unknown release stays unknown: nothing is said to be missing that it may require."""
    report = judged(spec)
    assert steps(report)[1:] == ("unknown", "unknown")
    assert report.facts.packages is not None
    assert not {"torch", "numpy"} & set(report.facts.packages)
    assert report.exit_code == 3


def test_what_is_installed_already_brings_nothing() -> None:
    """No installer looks for more where a pin is met: what is missing stays missing."""
    report = judged("bitsandbytes==0.50.2", over={**WHOLE, "bitsandbytes": "0.50.2"})
    assert report.facts.packages is not None
    assert not report.facts.packages["numpy"]
    assert "python-module-missing" in {one.rule for one in report.findings}
