"""benchmarks/cases.py as a command: figures, misses, JSON, the record."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

KNOWN = {
    "id": "known",
    "url": "https://github.com/x/y/issues/1",
    "topic": "c",
    "facts": {"schema": "qdoctor/facts/1"},
    "error": "RuntimeError: Failed to find C compiler. Please specify via CC environment variable.",
    "expect": {
        "causes": ["no-c-compiler"],
        "healthy_env": False,
        "fixes": [{"action": "change-hardware", "what": "on purpose another than is offered"}],
    },
    "scorable": True,
    "confidence": "high",
    "note": None,
}
UNKNOWN = {
    **KNOWN,
    "id": "unknown",
    "url": "https://github.com/x/y/issues/2",
    "error": "a text that nobody ever printed",
}


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    unscored = {**KNOWN, "id": "unscored", "scorable": False}
    path = tmp_path / "two.jsonl"
    path.write_text("\n".join(json.dumps(one) for one in (KNOWN, UNKNOWN, unscored)) + "\n")
    return path


@pytest.fixture
def run(
    scorer: ModuleType,
    cases: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., str]:
    def _run(*options: str) -> str:
        monkeypatch.setattr(sys, "argv", ["cases.py", str(cases), *options])
        scorer.main()
        return capsys.readouterr().out

    return _run


def test_figures_and_each_miss_with_its_thread(run: Callable[..., str]) -> None:
    told = run()
    assert "two.jsonl: 2 scorable cases" in told
    assert "cause, first     1/2  0.500" in told
    assert "known: wrong fix  https://github.com/x/y/issues/1" in told
    assert "unknown: wrong cause and fix  https://github.com/x/y/issues/2" in told
    assert "wanted no-c-compiler; got nothing" in told
    assert "unscored" not in told


def test_misses_can_be_of_one_kind_or_left_out(run: Callable[..., str]) -> None:
    assert "known: wrong fix" not in run("--misses", "cause")
    assert "issues/2" not in run("--misses", "none")


def test_only_some_cases(run: Callable[..., str], cases: Path) -> None:
    assert "two.jsonl: 1 scorable" in run("--only", "unknown", "--record")
    assert "two.jsonl: 2 scorable" in run("--only", "no-c-compiler")
    assert not (cases.parent / "recorded.json").exists()  # part of a file is no record of it


def test_json_has_every_answer(run: Callable[..., str]) -> None:
    told: dict[str, Any] = json.loads(run("--json"))
    assert told["summary"]["cause_first"] == 1
    assert [(one["id"], one["got"], one["fix"]) for one in told["cases"]] == [
        ("known", ["no-c-compiler"], False),
        ("unknown", [], False),
    ]


def test_a_record_keeps_the_other_files(run: Callable[..., str], cases: Path) -> None:
    target = cases.parent / "recorded.json"
    target.write_text('{"other.jsonl": {"scorable": 9}}')
    run("--record")
    kept = json.loads(target.read_text())
    assert kept["other.jsonl"] == {"scorable": 9}
    assert kept["two.jsonl"]["cause_first"] == 1
