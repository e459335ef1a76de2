"""Whatever a probe does, it becomes a typed outcome, and its parent lives on with nothing left."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.model import Observation

Run = Callable[[str], list[Observation]]

PASSED = ("passed", None, "")
# patient -> what must come of it, in order: outcome, code, words of the detail
FATES: dict[str, list[tuple[str, str | None, str]]] = {
    "passes": [PASSED],
    "segfaults": [("crashed", "sigsegv", "SIGSEGV (segmentation fault) while calling the library")],
    "segfaults_half_way": [PASSED, ("crashed", "sigsegv", "segmentation fault")],
    "segfaults_at_exit": [PASSED, ("crashed", "sigsegv", "after it had answered")],
    "aborts": [("crashed", "sigabrt", "lib.cu:42: assertion `algo != nullptr' failed")],
    "kills_itself": [("crashed", "sigkill", "memory runs out")],
    "hangs": [("timed-out", "timed-out", "stopped after 1 s while waiting for the device")],
    "hangs_deaf": [("timed-out", "timed-out", "while loading hangs_deaf.py")],
    "hangs_with_children": [("timed-out", "timed-out", "")],
    "leaves_a_child": [PASSED],
    "leaves_a_daemon": [PASSED],
    "floods_stdout": [PASSED],
    "floods_stderr_and_hangs": [("timed-out", "timed-out", "")],
    "fills_the_disk": [("failed", "disk-limit", "control folder")],
    "fills_the_disk_with_names": [("failed", "disk-limit", "control folder")],
    "eats_memory": [("failed", "memory-limit", "MiB of memory")],
    "children_eat_memory": [("failed", "memory-limit", "MiB of memory")],
    "answers_nothing": [("failed", "no-answer", "exit status 0 and no answer")],
    "answers_no_outcome": [("failed", "no-answer", "exit status 0 and no answer")],
    "exits_with_three": [("failed", "no-answer", "exit status 3")],
    "raises": [("failed", "failed", "ValueError: tile")],
    "raises_system_exit": [("failed", "failed", "SystemExit: no kernel image is available")],
    "fails_to_import": [("failed", "import-failed", "a_module_that_nobody_has")],
    "starts_slowly": [PASSED],
    "locks_its_folder": [PASSED],
    "closes_everything": [PASSED],
    "answers_garbage": [("failed", "unreadable-answer", "result.json")],
    "answers_half": [("failed", "unreadable-answer", "result.json")],
    "answers_nan": [("failed", "unreadable-answer", "result.json")],
    "answers_infinity": [("failed", "unreadable-answer", "result.json")],
    "answers_wrong_types": [("failed", "unreadable-answer", "result.json")],
    "answers_crashed": [("failed", "unreadable-answer", "result.json")],
    "answers_hugely": [("failed", "unreadable-answer", "larger than")],
    "answers_deeply": [("failed", "unreadable-answer", "result.json")],
    "answers_with_a_fifo": [("failed", "unreadable-answer", "not a regular file")],
    "answers_with_a_link": [("failed", "unreadable-answer", "result.json")],
    "answers_with_a_folder": [("failed", "unreadable-answer", "not a regular file")],
}


@pytest.mark.parametrize("name", FATES)
def test_a_patient_has_the_outcome_it_earns(run: Run, name: str) -> None:
    seen = run(name)
    assert [(one.outcome, one.code) for one in seen] == [fate[:2] for fate in FATES[name]]
    for one, (_, _, words) in zip(seen, FATES[name], strict=True):
        assert words in one.detail
        assert one.probe == name
        assert one.device == "cuda:0"
        assert one.expected == "unknown"
        assert one.detail.isprintable()
        assert all(text.isprintable() for text in one.evidence)


def test_every_patient_is_examined(patients: object) -> None:
    elsewhere = {"aborts_for_one_sm", "warns"}  # in test_runner
    assert {path.stem for path in patients.glob("*.py")} == {*FATES, *elsewhere}  # type: ignore[attr-defined]


def test_a_crash_names_the_variant_that_had_not_answered(run: Run) -> None:
    assert [one.variant for one in run("segfaults_half_way")] == ["first", "second"]


def test_a_crash_says_where_in_python_it_happened(run: Run) -> None:
    (crash,) = run("segfaults")
    assert any("ctypes" in text and "string_at" in text for text in crash.evidence)


def test_the_parent_lives_on_and_the_next_probe_answers(run: Run) -> None:
    for name in ("segfaults", "passes", "hangs_deaf", "passes"):
        last = run(name)
    assert last[0].outcome == "passed"
    assert last[0].numbers["max_abs_error"] == 0.0
