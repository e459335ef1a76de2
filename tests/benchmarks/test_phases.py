"""Steps of a benchmark: told as they go, bounded, and none costs another."""

# ruff: noqa: ANN401 - the benchmark's modules are loaded

from __future__ import annotations

import importlib
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bounded(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(checkout))
    return importlib.import_module("benchmarks._phases")


def test_what_takes_too_long_is_stopped(bounded: Any) -> None:
    with pytest.raises(TimeoutError, match="not done after"), bounded.within(0.05):
        time.sleep(5)
    with bounded.within(0.05):
        pass
    time.sleep(0.1)  # nothing rings later


def test_an_alarm_of_somebody_else_rings_still(bounded: Any) -> None:
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    others, _ = signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with bounded.within(5.0):
            time.sleep(0.01)
        time.sleep(0.4)
    finally:
        signal.setitimer(signal.ITIMER_REAL, others)
        signal.signal(signal.SIGALRM, before)
    assert rung == [1]


def test_a_step_is_told_before_and_after(bounded: Any, capsys: pytest.CaptureFixture[str]) -> None:
    phases = bounded.Phases(60.0)
    assert phases.run("adding", 10.0, lambda: 1 + 1) == 2
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("] adding ...")
    assert "] adding: 0." in second
    assert phases.failed == {}


def test_a_step_that_fails_or_hangs_costs_only_itself(bounded: Any) -> None:
    phases = bounded.Phases(60.0)

    def fails() -> None:
        raise ValueError("no such layer")

    assert phases.run("a", 10.0, fails) is None
    assert phases.run("b", 0.05, lambda: time.sleep(5)) is None
    assert phases.run("c", 10.0, lambda: 3) == 3
    assert phases.failed == {
        "a": "ValueError: no such layer",
        "b": "TimeoutError: not done after 0 s",
    }


def test_no_step_is_begun_once_the_budget_is_spent(bounded: Any) -> None:
    phases, done = bounded.Phases(0.05), []
    phases.run("long", 10.0, lambda: time.sleep(5))
    phases.run("next", 10.0, lambda: done.append(1))
    assert not done
    assert phases.failed["long"].startswith("TimeoutError")
    assert phases.failed["next"] == "left out: the budget is spent"


def test_a_step_that_works_on_a_later_run_has_not_failed(bounded: Any) -> None:
    phases = bounded.Phases(60.0)
    phases.failed = {"a": "TimeoutError: not done after 60 s", "b": "ValueError"}
    phases.run("a", 10.0, lambda: None)
    assert phases.failed == {"b": "ValueError"}
