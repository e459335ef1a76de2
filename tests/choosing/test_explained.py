"""A selection in lines for people, and a backend that is required."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from qdoctor.backends import BackendUnavailable
from qdoctor.choosing.bounds import AIMS
from qdoctor.choosing.explained import explained, printable
from qdoctor.choosing.required import refusal, required

FOR_INFERENCE = {"objective": "memory"}


def selection(**more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "asked": {"objective": "memory", "max_error": 0.1, "training": True},
        "selected": "bnb-nf4",
        "reason": "it is the smallest",
        "device": {"name": "Tesla T4", "sm": "7.5"},
        "measured": True,
        "seconds": 3.21,
        "notes": ["one was left out"],
        "candidates": [
            {"backend": "half", "usable": "yes", "reason": "works", "lost": "it is larger"},
            {
                "backend": "bnb-nf4", "usable": "yes", "reason": "works", "lost": None,
                "rel_error": 0.0912, "speedup_vs_half": 0.514, "weight_bytes_per_param": 0.5625,
            },
            {"backend": "torch-fp8", "usable": "no", "reason": "SM 8.9 is needed", "lost": None},
        ],
        **more,
    }  # fmt: skip


def test_the_choice_its_ground_and_every_loser() -> None:
    wants = AIMS["memory"].wants
    assert explained(selection()).splitlines() == [
        "selected: bnb-nf4: it is the smallest",
        f"asked: memory ({wants}) for training, error at most 0.1 on Tesla T4 (SM 7.5)",
        "measured in 3.2 s",
        "note: one was left out",
        "",
        "half: it is larger",
        "bnb-nf4: 0.51x the speed of half, rel. error 0.091, 0.562 bytes a weight; selected",
        "torch-fp8: SM 8.9 is needed",
    ]


def test_what_was_not_measuring_is_told_apart() -> None:
    lines = explained(selection(seconds=21.6, starting_seconds=11.8)).splitlines()
    assert lines[2] == "measured in 9.8 s; starting and importing took 11.8 s more"


def test_nothing_measured_is_said() -> None:
    lines = explained(selection(measured=False, selected=None, notes=[])).splitlines()
    assert lines[0] == "selected: none: it is the smallest"
    assert lines[2].startswith("not measured: ")


def test_no_text_reaches_a_terminal_with_its_escapes() -> None:
    told = explained(selection(reason="\x1b[2Jgone\nselected: torch-fp8"))
    assert "\x1b" not in told
    assert told.splitlines()[0] == "selected: bnb-nf4: [2Jgone selected: torch-fp8"
    assert printable("a\tb\x00c") == "a b c"


def test_a_required_backend_that_works_is_taken_and_what_speaks_against_it_said() -> None:
    kept = required(selection(asked=FOR_INFERENCE), "half")
    found = json.loads(kept.body)
    assert kept.selected == found["selected"] == "half"
    assert found["reason"] == (
        "half is required, and works here; by itself bnb-nf4 would be selected: it is larger"
    )
    assert (
        "would be"
        not in json.loads(required(selection(asked=FOR_INFERENCE), "bnb-nf4").body)["reason"]
    )


def test_one_that_does_not_work_is_one_line_with_the_fixes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fix:
        action, command, why = "install", "python -m pip install x", "it brings the kernels"
        backend = None

    class Use:
        action, command, why, backend = "use", None, "it runs on the CPU", "bnb-int8"

    class Finding:
        rule, affects, fixes = "a-rule", ("torch-fp8",), (Fix, Fix, Use)

    class Facts:
        packages: ClassVar[dict[str, str]] = {}

    class Report:
        facts, findings = Facts, (Finding,)

    monkeypatch.setattr("qdoctor.api.check", lambda **_: Report)
    with pytest.raises(BackendUnavailable) as error:
        required(selection(asked=FOR_INFERENCE), "torch-fp8")
    assert str(error.value) == (
        "torch-fp8 is required, but cannot be used on Tesla T4: SM 8.9 is needed. Fix: "
        "`python -m pip install x` (it brings the kernels); or use bnb-int8: it runs on the CPU"
    )


def test_of_several_findings_the_fixes_of_the_one_that_decided_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def finding(rule: str, action: str, why: str) -> Any:  # noqa: ANN401
        fix = SimpleNamespace(action=action, why=why, command=None, backend=None)
        return SimpleNamespace(rule=rule, affects=["torch-fp8"], fixes=[fix])

    def told(*, fixed: bool) -> str:
        fixes = [finding("gone", "change-code" if fixed else "none", "no release has it")]
        findings = [finding("no-cuda-gpu", "change-hardware", "it needs a GPU"), *fixes]
        report = SimpleNamespace(facts=SimpleNamespace(packages={}), findings=findings)
        monkeypatch.setattr("qdoctor.api.check", lambda **_: report)
        return refusal("torch-fp8", "no release has such a layer", None, "gone")

    assert told(fixed=True).endswith(" Fix: change-code: no release has it")
    assert told(fixed=False).endswith(" Fix: change-hardware: it needs a GPU")


def test_where_no_check_can_be_made_the_reason_is_said_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def check(**_: object) -> None:
        raise OSError("no temporary folder")

    monkeypatch.setattr("qdoctor.api.check", check)
    with pytest.raises(BackendUnavailable, match=r"SM 8\.9 is needed\. Fix: `qdoctor check --need"):
        required(selection(asked=FOR_INFERENCE), "torch-fp8")
    with pytest.raises(BackendUnavailable, match="does not know it"):
        required(selection(asked=FOR_INFERENCE), "bnb-int8")
