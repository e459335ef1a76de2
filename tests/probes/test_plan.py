from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdoctor.model import Driver, Facts, Gpu, Python, Target
from qdoctor.probes.catalog import Header, Kernel
from qdoctor.probes.plan import Skip, Step, dotted, plan

HERE = Target(kind="interpreter", chosen_by="test", python="/venv/bin/python")
THERE = Target(kind="described", chosen_by="test")
V100 = Gpu(index=0, name="Tesla V100", sm="7.0", vendor="nvidia")
TORCH = {"torch": "2.6.0+cu124", "triton": "3.2.0"}


def kernel(name: str = "tiny", **changes: Any) -> Kernel:  # noqa: ANN401
    plain = {
        "title": "tiny",
        "needs": ("torch", "triton", "gpu"),
        "compile_needs": ("triton",),
        "modes": ("run", "compile"),
        "seconds": 5,
        "memory_mib": 100,
        "quick": True,
        "variants": ("only",),
        "sms": ("7.0", "9.0"),
        **changes,
    }
    return Kernel(Path(f"{name}.py"), Header(name=name, **plain))


RUNS_ONLY = {"modes": ("run",), "sms": ()}


def one(facts: Facts, **changes: Any) -> Step | Skip:  # noqa: ANN401
    (step,) = plan(HERE, facts, [kernel(**changes)], "quick")
    return step


def test_it_runs_on_the_first_visible_gpu() -> None:
    step = one(Facts(packages=TORCH, gpus=[V100], torch_cuda="12.4"))
    assert isinstance(step, Step)
    assert (step.mode, step.device, step.sms, step.note) == ("run", 0, (), "")


A100 = Gpu(index=0, name="NVIDIA A100-SXM4-40GB", sm="8.0", vendor="nvidia")


def devices(*gpus: Gpu, **changes: Any) -> list[int | None]:  # noqa: ANN401
    steps = plan(HERE, Facts(packages=TORCH, gpus=list(gpus)), [kernel(**changes)], "quick")
    return [step.device for step in steps if isinstance(step, Step) and step.mode == "run"]


def test_it_runs_on_every_usable_gpu_equal_or_not() -> None:
    assert devices(V100, V100) == [0, 1]
    assert devices(A100, V100) == [0, 1]
    assert devices(*[A100] * 8) == list(range(8))
    assert devices(A100, A100, needs=("torch",)) == [0, 1]


def test_hidden_gpus_and_those_of_others_have_no_number() -> None:
    hidden = Gpu(name="Tesla V100", sm="7.0", vendor="nvidia", visible=False)
    assert devices(A100, hidden) == [0]
    assert devices(hidden, A100, Gpu(vendor="amd"), V100) == [0, 1]


def test_of_several_mig_slices_the_one_that_cuda_shows_is_probed() -> None:
    shown = Gpu(index=0, name="NVIDIA A100", sm="8.0", vendor="nvidia", mig="1g.5gb", visible=True)
    other = Gpu(name="NVIDIA A100", sm="8.0", vendor="nvidia", mig="2g.10gb", visible=False)
    assert devices(shown, other) == [0]


def test_a_kernel_that_uses_no_gpu_runs_once() -> None:
    assert devices(A100, A100, needs=("triton",), gpu_mib=0) == [0]


def test_beside_several_gpus_it_compiles_once_for_another() -> None:
    steps = plan(HERE, Facts(gpus=[V100, A100]), [kernel()], "quick", ["7.0", "8.0", "9.0"])
    assert [(step.mode, step.device, step.sms) for step in steps if isinstance(step, Step)] == [
        ("run", 0, ()),
        ("run", 1, ()),
        ("compile", None, ("9.0",)),
    ]


def test_what_is_unknown_does_not_stop_it() -> None:
    step = one(Facts())
    assert isinstance(step, Step)
    assert step.mode == "run"


WITHOUT = {
    "no GPU": (Facts(packages=TORCH, gpus=[]), "no-gpu", "no GPU is here"),
    "a hidden GPU": (
        Facts(packages=TORCH, gpus=[Gpu(sm="7.0", vendor="nvidia", visible=False)]),
        "no-gpu",
        "CUDA_VISIBLE_DEVICES",
    ),
    "another vendor's": (
        Facts(packages=TORCH, gpus=[Gpu(name="Radeon RX 7900", vendor="amd")]),
        "no-gpu",
        "Radeon RX 7900",
    ),
    "no driver": (
        Facts(packages=TORCH, gpus=[V100], driver=Driver(version="")),
        "no-driver",
        "driver",
    ),
    "a CPU build": (
        Facts(packages=TORCH, gpus=[V100], torch_cuda=""),
        "torch-cpu-only",
        "without CUDA",
    ),
    "no torch": (
        Facts(packages={"torch": "", "triton": "3.2.0"}, gpus=[V100]),
        "package-missing",
        "torch not installed",
    ),
}


@pytest.mark.parametrize(("facts", "code", "words"), WITHOUT.values(), ids=WITHOUT)
def test_what_cannot_run_is_skipped_with_the_reason(facts: Facts, code: str, words: str) -> None:
    skip = one(facts, **RUNS_ONLY)
    assert isinstance(skip, Skip)
    assert skip.code == code
    assert words in skip.why


@pytest.mark.parametrize(("facts", "code", "words"), WITHOUT.values(), ids=WITHOUT)
def test_what_cannot_run_compiles_if_it_can(facts: Facts, code: str, words: str) -> None:
    assert code
    step = one(facts)
    assert isinstance(step, Step)
    assert (step.mode, step.device, step.sms) == ("compile", None, ("7.0", "9.0"))
    assert words in step.note


def test_compiling_needs_its_packages() -> None:
    skip = one(Facts(packages={"torch": "2.6.0", "triton": ""}, gpus=[]))
    assert isinstance(skip, Skip)
    assert (skip.code, skip.why) == (
        "package-missing",
        "triton not installed in the examined environment",
    )


def test_asked_sms_replace_the_default_ones() -> None:
    steps = plan(HERE, Facts(gpus=[]), [kernel()], "quick", ["sm_86", "8.6", "12.0"])
    assert [(step.mode, step.sms) for step in steps if isinstance(step, Step)] == [
        ("compile", ("8.6", "12.0"))
    ]


def test_beside_a_gpu_it_compiles_for_another_that_was_asked() -> None:
    steps = plan(HERE, Facts(gpus=[V100]), [kernel()], "quick", ["7.0", "9.0"])
    assert [(step.mode, step.sms) for step in steps if isinstance(step, Step)] == [
        ("run", ()),
        ("compile", ("9.0",)),
    ]


def test_a_kernel_that_only_compiles() -> None:
    step = one(Facts(gpus=[V100]), modes=("compile",))
    assert isinstance(step, Step)
    assert (step.mode, step.sms) == ("compile", ("7.0", "9.0"))


def test_a_kernel_without_needs_runs_anywhere() -> None:
    step = one(Facts(gpus=[], packages={"torch": ""}), needs=())
    assert isinstance(step, Step)
    assert (step.mode, step.device) == ("run", None)
    step = one(Facts(gpus=[V100]), needs=())
    assert isinstance(step, Step)
    assert step.device == 0


ON_CPU: dict[str, Any] = {"cpu_needs": ("torch",), "imports": ("torch", "triton")}


@pytest.mark.parametrize("triton", ["3.2.0", ""])
@pytest.mark.parametrize("why", ["no GPU", "a hidden GPU", "another vendor's", "a CPU build"])
def test_without_a_gpu_it_runs_on_the_cpu_if_it_can_and_compiles(why: str, triton: str) -> None:
    facts = msgspec.structs.replace(WITHOUT[why][0], packages={**TORCH, "triton": triton})
    ran, other = plan(HERE, facts, [kernel(**ON_CPU)], "quick")
    assert isinstance(ran, Step)
    assert (ran.mode, ran.device) == ("run", None)
    assert ran.kernel.header.imports == ("torch",)
    assert isinstance(other, Step) == bool(triton)
    assert (other.kernel.header.imports) == ("torch", "triton")


def test_a_kernel_that_can_do_without_a_gpu_still_takes_it_and_asks_what_it_needs_there() -> None:
    assert devices(V100, A100, **ON_CPU) == [0, 1]
    without = Facts(packages={"torch": "2.6.0", "triton": ""}, gpus=[V100])
    skip = one(without, **RUNS_ONLY, **ON_CPU)
    assert isinstance(skip, Skip)
    assert skip.why == "triton not installed in the examined environment"


def test_what_the_cpu_needs_is_asked_for_too() -> None:
    without = Facts(packages={"torch": "", "triton": ""}, gpus=[])
    skip = one(without, **RUNS_ONLY, **ON_CPU)
    assert isinstance(skip, Skip)
    assert skip.code == "package-missing"


@pytest.mark.parametrize(
    ("target", "level", "quick", "code"),
    [
        (THERE, "full", True, "described"),
        (HERE, "none", True, "level"),
        (HERE, "quick", False, "level"),
        (Target(kind="interpreter", chosen_by="test"), "quick", True, "no-interpreter"),
    ],
)
def test_what_is_not_asked_does_not_run(target: Target, level: Any, quick: bool, code: str) -> None:  # noqa: ANN401, FBT001
    (skip,) = plan(target, Facts(gpus=[V100]), [kernel(quick=quick)], level)
    assert isinstance(skip, Skip)
    assert skip.code == code


@pytest.mark.parametrize(
    ("version", "runs"), [("3.7.17", False), ("3.8.0", True), ("3.15.0a1", True), ("?", True)]
)
def test_an_interpreter_too_old_for_the_kernel(version: str, runs: bool) -> None:  # noqa: FBT001
    step = one(Facts(python=Python(version=version), gpus=[V100]))
    assert isinstance(step, Step) == runs
    if isinstance(step, Skip):
        assert step.code == "python-unsupported"
        assert ">=3.8" in step.why


@given(
    gpus=st.none() | st.lists(st.sampled_from([V100, Gpu(), Gpu(vendor="amd")]), max_size=2),
    torch=st.sampled_from([None, "", "?", "2.6.0"]),
    level=st.sampled_from(["none", "quick", "full"]),
    asked=st.lists(st.sampled_from(["7.0", "sm_90", "120"]), max_size=3),
)
def test_every_kernel_is_accounted_for(
    gpus: list[Gpu] | None,
    torch: str | None,
    level: Any,  # noqa: ANN401
    asked: list[str],
) -> None:
    facts = Facts(gpus=gpus, packages=None if torch is None else {"torch": torch})
    catalog = [kernel("a"), kernel("b", **RUNS_ONLY), kernel("c", quick=False)]
    steps = plan(HERE, facts, catalog, level, asked)
    assert list(dict.fromkeys(step.kernel.name for step in steps)) == ["a", "b", "c"]
    assert all(step.why for step in steps if isinstance(step, Skip))
    assert all(step.sms for step in steps if isinstance(step, Step) and step.mode == "compile")


@pytest.mark.parametrize("sm", ["sm_120", "120", "12.0"])
def test_an_sm_has_one_spelling(sm: str) -> None:
    assert dotted(sm) == "12.0"
