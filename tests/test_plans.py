"""S0 as plans: what somebody would type before installing, judged without torch for three GPUs.

The right answers are argued beside each plan; every statement in them is a fact of the matrix.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest

from qdoctor.doctor import examine
from qdoctor.question import Question

if TYPE_CHECKING:
    from pathlib import Path

    from qdoctor.model import Report

GPUS = ("A100", "H100", "RTX 5090")
NO, YES, UNKNOWN = "no", "yes", "unknown"


def judged(
    *specs: str,
    gpu: str,
    python: str = "3.10",
    platform: str = "linux_x86_64",
    driver: str | None = None,
) -> Report:
    """The report on a plan for a new environment: nothing of this machine plays a part."""
    question = Question(
        facts_file="-",
        specs=specs,
        bare=True,
        gpu=gpu,
        python_version=python,
        platform=platform,
        driver=driver,
    )
    return examine(question, stdin=io.BytesIO(b"{}"))


def steps(report: Report) -> tuple[str, str, str]:
    plan = report.plan
    assert plan is not None
    return plan.installs.answer, plan.imports.answer, plan.runs.answer


def backends(report: Report) -> set[str]:
    assert report.plan is not None
    return set(report.plan.backends)


def rules(report: Report) -> set[str]:
    return {one.rule for one in report.findings}


@pytest.mark.parametrize("gpu", GPUS)
def test_the_guides_environment_cannot_be_installed_at_once(gpu: str) -> None:
    """The OpenCLIP int8 tutorial ran Python 3.8, torch 2.0.0, triton 2.0.0.post1, bnb 0.38.1.

    torch 2.0.0 requires triton==2.0.0, which a post-release is not (PEP 440): an installer that is
    asked for both refuses, whatever the GPU. (One after the other, pip warns and goes on.)
    """
    report = judged(
        *("torch==2.0.0", "triton==2.0.0.post1", "bitsandbytes==0.38.1", "scipy"),
        gpu=gpu,
        python="3.8",
    )
    assert steps(report) == (NO, NO, NO)
    assert {"triton-pin-mismatch", "plan-does-not-install"} <= rules(report)
    assert report.exit_code == 1


def test_the_guides_two_commands_today_are_not_known_to_work() -> None:
    """`pip install triton==2.0.0.post1` and any bitsandbytes: the data lacks that triton.

    Every torch from 2.0 on pins another triton, so an installer goes back to 1.13.1.
    """
    report = judged("triton==2.0.0.post1", "bitsandbytes", gpu="A100", python="3.8")
    assert steps(report)[0] == UNKNOWN
    assert YES not in steps(report)
    assert report.plan is not None
    assert report.plan.packages["torch"] == "1.13.1"
    assert report.exit_code == 3


@pytest.mark.parametrize(
    ("gpu", "runs"),
    [
        # sm_80 is in torch's list and in libbitsandbytes_cuda117.so.
        ("A100", YES),
        # torch 2.0.0 for CUDA 11.7 ends with sm_86 and holds no PTX: no kernel image for SM 9.0 ...
        ("H100", NO),
        # ... nor for SM 12.0.
        ("RTX 5090", NO),
    ],
)
def test_the_guides_environment_with_the_triton_that_torch_pins(gpu: str, runs: str) -> None:
    report = judged(
        *("torch==2.0.0", "triton==2.0.0", "bitsandbytes==0.38.1", "scipy"), gpu=gpu, python="3.8"
    )
    assert steps(report) == (YES, YES, runs)
    assert ("bnb-switchback" in backends(report)) == (runs == YES)
    assert ("torch-no-sm-binary" in rules(report)) == (runs == NO)


@pytest.mark.parametrize("gpu", GPUS)
def test_without_scipy_the_guides_bitsandbytes_does_not_import(gpu: str) -> None:
    """0.38.1 to 0.41.3 import what they do not require; the guide's scikit-image brought scipy."""
    report = judged("torch==2.0.1", "bitsandbytes==0.41.1", gpu=gpu)
    assert steps(report) == (YES, NO, NO)
    assert "python-module-missing" in rules(report)


@pytest.mark.parametrize("gpu", GPUS)
def test_the_reports_advice_contradicts_the_torch_of_its_day(gpu: str) -> None:
    """`triton>=2.1.0` beside torch 2.0.1, which pins triton 2.0.0: no GPU changes that."""
    report = judged("torch==2.0.1", "triton>=2.1.0", "bitsandbytes==0.41.1", "scipy", gpu=gpu)
    assert steps(report) == (NO, NO, NO)
    assert report.plan is not None
    assert "torch 2.0.1 requires triton==2.0.0" in report.plan.installs.reason
    assert "triton-pin-mismatch" in rules(report)


@pytest.mark.parametrize("gpu", GPUS)
def test_the_reports_advice_with_any_torch_breaks_the_import(gpu: str) -> None:
    """The newest torch brings a triton without triton.ops, which bitsandbytes 0.41.1 imports."""
    report = judged(
        "torch", "triton>=2.1.0", "bitsandbytes==0.41.1", "scipy", gpu=gpu, python="3.12"
    )
    assert steps(report) == (YES, NO, NO)
    assert "triton-ops-removed" in rules(report)
    assert report.exit_code == 1


@pytest.mark.parametrize(
    ("gpu", "runs", "int8"),
    [
        ("A100", YES, True),
        # bitsandbytes before 0.45 orders int8 weights as cuBLASLt refuses on Hopper; 4-bit works.
        ("H100", YES, False),
        # torch 2.3.1 for CUDA 12.1 ends with sm_90.
        ("RTX 5090", NO, False),
    ],
)
def test_the_reports_advice_at_its_best_still_has_no_switchback(
    gpu: str,
    runs: str,
    int8: bool,  # noqa: FBT001 - a table's column
) -> None:
    """triton 2.1 to 2.3 keep triton.ops, so it imports; tl.libdevice is gone since 2.1."""
    report = judged("torch", "triton>=2.1.0,<3", "bitsandbytes==0.42.0", gpu=gpu)
    assert steps(report) == (YES, YES, runs)
    assert "bnb-switchback" not in backends(report)
    assert ("bnb-int8" in backends(report)) is int8
    assert "triton-libdevice-removed" in rules(report)


def test_the_reports_advice_over_what_is_installed(machines: Path) -> None:
    """Alone it leaves torch as it is: pip installs it, and torch has lost its triton."""
    plain = json.loads((machines / "described" / "s0-openclip-switchback.json").read_text())
    plain["packages"] = {"torch": "2.0.1", "triton": "2.0.0", "bitsandbytes": "0.41.1"}
    question = Question(facts_file="-", specs=("triton>=2.1.0,<3",))
    report = examine(question, stdin=io.BytesIO(json.dumps(plain).encode()))
    assert report.plan is not None
    assert report.plan.packages == {"triton": "2.3.1"}
    assert "triton-pin-mismatch" in rules(report)
    assert "bnb-switchback" not in backends(report)


@pytest.mark.parametrize(
    ("torch", "gpu", "working"),
    [
        # CUDA 11.7: sm_80 everywhere, and triton 2.0.0 has tl.libdevice.llrint.
        ("2.0.1", "A100", {"bnb-int8", "bnb-nf4", "bnb-fp4", "bnb-switchback"}),
        ("2.0.1", "H100", set()),
        ("2.0.1", "RTX 5090", set()),
        # CUDA 11.8 adds sm_90: 4-bit runs on an H100; its int8 product does not (see above), and
        # triton 2.0.0 compiles no int8 product for SM 9.0.
        ("2.0.1+cu118", "A100", {"bnb-int8", "bnb-nf4", "bnb-fp4", "bnb-switchback"}),
        ("2.0.1+cu118", "H100", {"bnb-nf4", "bnb-fp4"}),
        ("2.0.1+cu118", "RTX 5090", set()),
    ],
)
def test_first_plan_that_works_the_last_switchback(torch: str, gpu: str, working: set[str]) -> None:
    report = judged(f"torch=={torch}", "triton==2.0.0", "bitsandbytes==0.42.0", gpu=gpu)
    assert steps(report) == (YES, YES, YES if working else NO)
    assert {name for name in backends(report) if name.startswith("bnb-")} == working


@pytest.mark.parametrize("gpu", GPUS)
def test_second_plan_that_works_int8_on_the_current_stack(gpu: str) -> None:
    """bitsandbytes 0.50.2 has code for all three, and its int8 product uses plain layouts."""
    report = judged("torch", "bitsandbytes==0.50.2", gpu=gpu, python="3.12")
    assert steps(report) == (YES, YES, YES)
    assert {"bnb-int8", "bnb-nf4", "qdoctor-switchback"} <= backends(report)
    assert "bnb-switchback" not in backends(report)
    assert report.exit_code == 0


@pytest.mark.parametrize(
    ("build", "gpu", "runs"),
    [
        ("", "A100", YES),
        ("", "H100", YES),
        # The default build of 2.7.1 is for CUDA 12.6, which knows no SM 12.0 ...
        ("", "RTX 5090", NO),
        # ... the build for CUDA 12.8 of the same release holds sm_120, as bitsandbytes' does.
        ("+cu128", "RTX 5090", YES),
        ("+cu128", "A100", YES),
        ("+cu128", "H100", YES),
    ],
)
def test_third_plan_that_works_the_right_build_of_one_release(
    build: str, gpu: str, runs: str
) -> None:
    report = judged(f"torch==2.7.1{build}", "bitsandbytes==0.46.0", gpu=gpu)
    assert steps(report) == (YES, YES, runs)
    assert ("bnb-int8" in backends(report)) == (runs == YES)


def test_an_unknown_release_is_never_taken_for_good() -> None:
    report = judged("torch==99", gpu="A100")
    assert steps(report) == (UNKNOWN, UNKNOWN, UNKNOWN)
    assert report.exit_code == 3


def test_a_package_that_is_not_judged_says_nothing_of_the_others() -> None:
    alone = judged("nosuchpackage", gpu="A100")
    assert steps(alone) == (UNKNOWN, UNKNOWN, UNKNOWN)
    assert alone.exit_code == 3
    beside = judged("nosuchpackage", "torch==2.9.1", gpu="A100")
    assert steps(beside) == (YES, YES, YES)
    assert beside.plan is not None
    assert "not judged: nosuchpackage" in beside.plan.installs.reason


def test_torch_for_windows_is_a_cpu_build_unless_another_is_named() -> None:
    default = judged("torch==2.9.1", "bitsandbytes", gpu="A100", platform="win_amd64")
    assert steps(default) == (YES, YES, NO)
    assert "torch-cpu-only" in rules(default)
    named = judged("torch==2.9.1+cu126", "bitsandbytes", gpu="A100", platform="win_amd64")
    assert steps(named) == (YES, YES, YES)


def test_a_driver_too_old_for_the_planned_torch() -> None:
    report = judged("torch==2.9.1+cu130", gpu="A100", driver="535.104.05")
    assert steps(report) == (YES, YES, NO)
    assert "driver-too-old" in rules(report)


def test_without_a_plan_there_is_no_verdict_on_one() -> None:
    report = examine(Question(facts_file="-"), stdin=io.BytesIO(b"{}"))
    assert report.plan is None
