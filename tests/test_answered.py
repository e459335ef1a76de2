"""Whom an observation speaks of, and whether it says anything."""

from __future__ import annotations

import pytest

from qdoctor.answered import gave_no_answer, speaks_of
from qdoctor.expectation import annotate
from qdoctor.machine import complete
from qdoctor.matrix import shipped
from qdoctor.model import Observation
from qdoctor.selection import judge
from tests.layers.conftest import facts_with

CRASH = Observation(probe="cublaslt_igemm", outcome="crashed", code="sigsegv", device="cuda:0")
PASSED = Observation(probe="cublaslt_igemm", outcome="passed", variant="row-major", device="cuda:0")


@pytest.mark.parametrize(
    ("outcome", "code", "silent"),
    [
        ("timed-out", "timed-out", True),
        ("failed", "no-answer", True),
        ("failed", "memory-limit", True),
        ("skipped", "out-of-memory", True),
        ("skipped", "gpu-busy", True),
        ("skipped", "no-temporary-folder", True),
        ("skipped", "no-gpu", False),
        ("failed", "bad-exit", False),
        ("crashed", "sigsegv", False),
        ("passed", None, False),
    ],
)
def test_what_tells_nothing(outcome: str, code: str | None, silent: bool) -> None:  # noqa: FBT001
    one = Observation(probe="p", outcome=outcome, code=code)  # type: ignore[arg-type]
    assert gave_no_answer(one) is silent


def test_an_end_without_a_variant_is_about_those_that_had_not_answered() -> None:
    every = (PASSED, CRASH)
    assert not speaks_of(CRASH, "row-major", every)
    assert speaks_of(CRASH, "col32_2r_4r4", every)
    assert speaks_of(CRASH, "row-major", (CRASH,))
    assert speaks_of(CRASH, None, every)
    assert speaks_of(PASSED, "row-major", every)
    assert not speaks_of(PASSED, "col32_2r_4r4", every)


def test_on_another_gpu_nothing_was_answered() -> None:
    other = Observation(
        probe="cublaslt_igemm", outcome="passed", variant="row-major", device="cuda:1"
    )
    assert speaks_of(CRASH, "row-major", (other, CRASH))


def test_a_crash_before_any_answer_was_not_expected_where_one_should_have_passed() -> None:
    machine = complete(facts_with(), shipped())
    (alone,) = annotate([CRASH], machine, shipped())
    assert alone.expected == "pass"
    answered = [
        Observation(probe="cublaslt_igemm", outcome="passed", variant=one, device="cuda:0")
        for one in ("row-major", "col4_4r2_8c", "col32_2r_4r4", "awkward")
    ]
    assert annotate([*answered, CRASH], machine, shipped())[-1].expected == "unknown"


def test_a_crash_takes_the_backend_away_and_a_timeout_leaves_it_open() -> None:
    machine = complete(facts_with(), shipped())

    def int8(*seen: Observation) -> str:
        found = judge(machine, seen, (), shipped())
        return next(one.usable for one in found if one.backend == "bnb-int8")

    late = Observation(probe="cublaslt_igemm", outcome="timed-out", device="cuda:0")
    starved = Observation(
        probe="cublaslt_igemm", outcome="failed", code="memory-limit", device="cuda:0"
    )
    assert [int8(), int8(CRASH), int8(late), int8(starved)] == ["yes", "no", "unknown", "unknown"]
