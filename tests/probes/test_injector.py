"""Every harm at every stage: a true outcome, a complete report, a neighbour that notices nothing.

Each cell runs a harmed probe beside a healthy one, forked from the zygote and in an interpreter of
its own, and judges what came of it as on a described A100.
"""

from __future__ import annotations

import importlib.util
import io
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import jsonschema
import pytest

from qdoctor.doctor import examine
from qdoctor.model import Observation, Report, Target, from_plain, to_json, to_plain
from qdoctor.question import BACKENDS, Question
from qdoctor.report import render
from qdoctor.schema import schema
from qdoctor.shipped import kernels_folder
from tests.layers.conftest import facts_with
from tests.probes.wards import HARMED, HEALTHY, Ward

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

BRIEF = ("hang", "hang-ignoring-sigterm", "hang-alone", "stop", "linger")
"""Harms that only a timeout ends."""

Fate = tuple[str, str | None]
P, W = ("passed", None), ("wrong", "wrong-value")
ALL: list[Fate] = [P] * 4  # variants
TIMED_OUT, NO_ANSWER = ("timed-out", "timed-out"), ("failed", "no-answer")
UNREADABLE, BAD_EXIT, RAISED = (
    ("failed", "unreadable-answer"),
    ("failed", "bad-exit"),
    ("failed", "failed"),
)
FULL = ("skipped", "out-of-memory")
OK, FOUND, OPEN = 0, 1, 3  # exit codes

Cell = tuple[list[Fate], int]


def fatal(fate: Fate, exit_code: int, later: int = OK) -> dict[str, Cell]:
    """An end that takes with it what had not been written down by then."""
    early, late = ([fate], exit_code), ([*ALL, fate], later)
    return {"load": early, "run": early, "answer": late, "end": late}


def crash(name: str) -> dict[str, Cell]:
    """A crash; once all had answered it is but a warning."""
    return fatal(("crashed", name), FOUND)


def silent(fate: Fate) -> dict[str, Cell]:
    """An end that leaves the question open."""
    return fatal(fate, OPEN, OPEN)


def everywhere(*fates: Fate, exit_code: int = OK) -> dict[str, Cell]:
    """One and the same at every stage."""
    return dict.fromkeys(("load", "run", "answer", "end"), (list(fates), exit_code))


def raised(fate: Fate, exit_code: int) -> dict[str, Cell]:
    """An exception: an answer while the kernel runs, the end of the harness after that."""
    early = ([fate], exit_code)
    late = {"answer": ([*ALL, NO_ANSWER], OPEN), "end": ([*ALL, BAD_EXIT], OK)}
    return {"load": early, "run": early, **late}


HARMLESS = everywhere(*ALL)
TABLE: dict[str, dict[str, Cell]] = {
    "segfault": crash("sigsegv"),
    "abort": crash("sigabrt"),
    "kill": crash("sigkill"),
    "interrupt": crash("sigint"),
    "stop": silent(TIMED_OUT),
    "hang": silent(TIMED_OUT),
    "hang-ignoring-sigterm": silent(TIMED_OUT),
    "hang-alone": silent(TIMED_OUT),
    "linger": everywhere(*ALL, TIMED_OUT, exit_code=OPEN),
    "fork": HARMLESS,
    "allocate": silent(("failed", "memory-limit")),
    "flood-stdout": HARMLESS,
    "flood-stderr": HARMLESS,
    "fill-disk": silent(("failed", "disk-limit")),
    "remove-folder": everywhere(NO_ANSWER, exit_code=OPEN),
    "close-descriptors": HARMLESS,
    "corrupt-result": silent(UNREADABLE),
    "truncated-result": silent(UNREADABLE),
    "exit-0": {**silent(NO_ANSWER), "end": (ALL, OK)},
    "exit-3": {**silent(NO_ANSWER), "end": ([*ALL, BAD_EXIT], OK)},
    "slow-start": HARMLESS,
    "wrong-numbers": everywhere(*[W] * 4, exit_code=FOUND),
    "nan": {
        **everywhere(*[W] * 4, exit_code=FOUND),
        "answer": ([*ALL, NO_ANSWER], OPEN),  # it is no JSON: the harness refuses to write it
        "end": ([*ALL, UNREADABLE], OPEN),
    },
    "illegal-memory-access": raised(RAISED, FOUND),
    "full-gpu": raised(FULL, OPEN),
}
FORKED: dict[tuple[str, str], Cell] = {
    # A forked child ends with status 1 where Python itself would send itself the signal.
    ("interrupt", "end"): ([*ALL, BAD_EXIT], OK),
}
"""Where a forked child ends otherwise, and the answer counts all the same."""
CELLS = [(kind, stage) for kind, stages in TABLE.items() for stage in stages]
QUICK = [cell for cell in CELLS if cell[0] not in BRIEF]


def kernels(name: str) -> ModuleType:
    """Load a file of the kernels' folder, which is on nobody's import path."""
    spec = importlib.util.spec_from_file_location(name, kernels_folder() / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["fresh", "forked"])
def route(request: pytest.FixtureRequest) -> str:
    """Whether children are interpreters of their own, or forked from one that imported for all."""
    return str(request.param)


@pytest.fixture
def ward(route: str, packages: Path, clean_world: str) -> Ward:
    return Ward(route, packages, clean_world)


def judged(seen: list[Observation]) -> Report:
    """The whole report of an A100 on which this was seen."""
    current = {"torch": "2.7.1", "triton": "3.3.1", "bitsandbytes": "0.47.0"}
    facts = facts_with(packages=current, driver={"version": "580.95.05"})
    bare = Report(
        tool_version="0",
        matrix_version="0",
        target=Target(kind="interpreter", chosen_by="test"),
        facts=facts,
        observations=seen,
        findings=[],
        verdicts=[],
        selected=None,
        exit_code=0,
    )
    return examine(Question(facts_file="-"), stdin=io.BytesIO(to_json(bare).encode()), environ={})


def fates(seen: list[Observation], probe: str) -> list[Fate]:
    return [(one.outcome, one.code) for one in seen if one.probe == probe]


def test_the_table_is_whole() -> None:
    assert set(TABLE) == set(kernels("_harm").KINDS)
    assert {stage for _, stage in CELLS} == set(kernels("_inject").STAGES)
    assert len(CELLS) == len(TABLE) * 4


@pytest.mark.parametrize(("kind", "stage"), QUICK, ids=[f"{k}@{s}" for k, s in QUICK])
def test_a_harmed_probe_harms_nothing_else(ward: Ward, kind: str, stage: str) -> None:
    survive(ward, kind, stage)


@pytest.mark.parametrize("kind", BRIEF)
def test_a_probe_that_never_ends_harms_nothing_else(ward: Ward, kind: str) -> None:
    with ThreadPoolExecutor(4) as pool:  # they wait, most of the time
        list(pool.map(lambda stage: survive(ward, kind, stage), TABLE[kind]))


def survive(ward: Ward, kind: str, stage: str) -> None:
    """Do one harm, and hold everything that came of it against the table."""
    wanted, exit_code = TABLE[kind][stage]
    if ward.imports:
        wanted, exit_code = FORKED.get((kind, stage), (wanted, exit_code))
    seen = ward.run(f"{HARMED}:{kind}@{stage}", seconds=1 if kind in BRIEF else 20)
    assert fates(seen, HARMED) == wanted
    assert fates(seen, HEALTHY) == [P]
    report = judged(seen)
    assert report.exit_code == exit_code
    assert_complete(report)
    assert_recognisable(seen, f"injected: {kind}@{stage}", stage)
    half = next(one for one in report.verdicts if one.backend == "half")
    assert half.usable == "yes"


def assert_complete(report: Report) -> None:
    plain = to_plain(report)
    jsonschema.Draft202012Validator(schema("report")).validate(plain)
    assert from_plain(plain, Report, "test") == report
    assert [one.backend for one in report.verdicts] == list(BACKENDS)
    assert not [one for one in report.findings if one.rule == "qdoctor-rule-failed"]
    for form in ("text", "json"):
        assert HARMED in render(report, form)


def assert_recognisable(seen: list[Observation], words: str, stage: str) -> None:
    """What the harm did says so; what was answered before it needs not."""
    hit = [one for one in seen if one.probe == HARMED and (one.outcome != "passed")]
    before_all = stage in {"load", "run"}
    for one in hit or (one for one in seen if one.probe == HARMED and before_all):
        assert any(text.startswith(words) for text in one.evidence), one
    for one in seen:
        if one.probe == HEALTHY:
            assert not any("injected" in text for text in one.evidence)


def test_without_the_variable_nothing_is_harmed(ward: Ward) -> None:
    seen = ward.run()
    assert fates(seen, HARMED) == ALL
    assert not [one for one in seen if any("injected" in text for text in one.evidence)]
    report = judged(seen)
    assert (report.exit_code, report.selected) == (OK, "bnb-int8")


def test_two_harms_at_once(ward: Ward) -> None:
    seen = ward.run(f"{HARMED}:slow-start@load, {HARMED}:segfault@end,{HEALTHY}:exit-3@load")
    assert fates(seen, HARMED) == [*ALL, ("crashed", "sigsegv")]
    assert fates(seen, HEALTHY) == [NO_ANSWER]


def test_a_harm_can_be_aimed_at_one_gpu(packages: Path, clean_world: str) -> None:
    ward = Ward("fresh", packages, clean_world)
    seen = ward.run_on_gpus(3, f"{HEALTHY}#1:exit-3@load")
    assert [(one.device, one.outcome) for one in seen] == [
        ("cuda:0", "passed"),
        ("cuda:1", "failed"),
        ("cuda:2", "passed"),
    ]


@pytest.mark.parametrize("text", [f"{HARMED}:typo", f"{HARMED}:hang@dawn", "nonsense"])
def test_a_harm_that_does_not_exist_is_no_pass(ward: Ward, text: str) -> None:
    seen = ward.run(text)
    assert "passed" not in {one.outcome for one in seen}
    assert any("not one of" in one.detail for one in seen)


def test_a_crash_before_any_answer_takes_the_backend_away(ward: Ward) -> None:
    report = judged(ward.run(f"{HARMED}:segfault@run"))
    int8 = next(one for one in report.verdicts if one.backend == "bnb-int8")
    assert int8.usable == "no"
    assert "segmentation fault" in int8.reason
    assert report.selected not in {None, "bnb-int8"}


def test_a_hang_leaves_the_backend_open(ward: Ward) -> None:
    report = judged(ward.run(f"{HARMED}:hang@run", seconds=1))
    int8 = next(one for one in report.verdicts if one.backend == "bnb-int8")
    assert int8.usable == "unknown"


def test_a_forked_child_that_ends_badly_is_asked_again_alone(
    packages: Path, clean_world: str
) -> None:
    seen = Ward("forked", packages, clean_world).run(f"{HARMED}:abort@run")
    (crash,) = [one for one in seen if one.probe == HARMED]
    assert any("fresh interpreter" in text for text in crash.evidence)
    (other,) = [one for one in seen if one.probe == HEALTHY]
    assert not any("fresh interpreter" in text for text in other.evidence)


def test_no_kernel_is_shipped_that_loads_the_injector() -> None:
    """Only the harness does, and only where the variable is set."""
    naming = {
        path.name
        for path in kernels_folder().glob("*.py")
        if re.search(r"_inject\b|QDOCTOR_INJECT", path.read_text(encoding="utf-8"))
    }
    assert naming == {"_inject.py", "_harm.py", "_harness.py"}
