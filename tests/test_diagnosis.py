"""How findings are weighed, folded and ordered, and the scenarios the doctor was made for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from qdoctor.diagnosis import RULE_FAILED, diagnose
from qdoctor.matrix import shipped
from qdoctor.model import Because, Facts, Finding, Severity, from_plain
from qdoctor.rules.case import Case, Rule, accused

if TYPE_CHECKING:
    from pathlib import Path

NOTHING = Facts()
TEXT = "NotImplementedError: igemmlt not available (probably built with NO_CUBLASLT)"
FIRST, SECOND = "sm-lacks-int8-tensor-cores", "bnb-override-wrong"
Machines = Callable[[str], Facts]


@pytest.fixture
def described(machines: Path) -> Machines:
    def read(name: str) -> Facts:
        text = (machines / "described" / f"{name}.json").read_text()
        return from_plain(json.loads(text), Facts, name)

    return read


def finds(
    name: str,
    severity: Severity = "note",
    *,
    affects: tuple[str, ...] = (),
    of: tuple[str, ...] = (),
) -> Rule:
    def find(_: Case) -> Iterator[Finding]:
        because = [Because(name, "a test", "observed")]
        yield Finding(name, severity, name, because, affects=list(affects))

    return Rule(name, "", find, of)


def suspects(name: str, *, covered: bool = True) -> Rule:
    def find(case: Case) -> Iterator[Finding]:
        if found := accused(case, name, "something is not known"):
            yield Finding(name, "note", name, found.because, undecided=found.undecided)

    return Rule(name, "", find, covered=covered)


def ordered(*rules: Rule, error: str | None = None, need: tuple[str, ...] = ()) -> list[Finding]:
    return diagnose(NOTHING, (), error, need, shipped(), rules)[1]


def test_severities_are_kept_without_a_need() -> None:
    found = ordered(finds("a"), finds("b", "warning"), finds("c", "error"))
    assert [(one.rule, one.severity) for one in found] == [
        ("c", "error"),
        ("b", "warning"),
        ("a", "note"),
    ]


def test_what_takes_a_need_away_is_an_error() -> None:
    found = ordered(finds("a", affects=("bnb-int8",)), finds("b"), need=("bnb-int8",))
    assert [(one.rule, one.severity) for one in found] == [("a", "error"), ("b", "note")]


def test_a_symptom_follows_its_cause() -> None:
    found = ordered(
        finds("symptom", "error", of=("cause",)), finds("other", "warning"), finds("cause")
    )
    assert [one.rule for one in found] == ["cause", "symptom", "other"]
    assert found[1].symptom_of == "cause"


def test_a_symptom_without_its_cause_stands_alone() -> None:
    assert ordered(finds("symptom", of=("cause",)))[0].symptom_of is None


def test_causes_in_a_circle_lose_no_finding() -> None:
    found = ordered(finds("a", of=("b",)), finds("b", of=("a",)))
    assert {one.rule for one in found} == {"a", "b"}


def test_only_what_explains_the_text_is_called_a_cause() -> None:
    found = ordered(finds("beside", "error"), suspects(FIRST), error=TEXT)
    assert [(one.rule, one.explains_error) for one in found] == [(FIRST, True), ("beside", False)]
    assert found[0].severity == "error"


def test_an_unknown_text_has_no_cause() -> None:
    found = ordered(finds(FIRST, "error"), suspects(SECOND), error="ValueError: something new")
    assert [(one.rule, one.explains_error) for one in found] == [(FIRST, False)]


def test_a_confirmed_cause_rules_out_one_that_only_the_text_accuses() -> None:
    found = ordered(suspects(FIRST), finds(SECOND), error=TEXT)
    assert [one.rule for one in found] == [SECOND]


def test_several_possible_causes_stay_undecided_in_the_order_of_the_data() -> None:
    found = ordered(suspects(SECOND), suspects(FIRST), error=TEXT)
    assert [one.rule for one in found] == [FIRST, SECOND]
    assert all(one.undecided and one.severity == "note" for one in found)


def test_what_is_not_covered_stays_undecided_even_alone() -> None:
    found = ordered(suspects(FIRST, covered=False), error=TEXT)
    assert (found[0].explains_error, found[0].severity) == (True, "note")
    assert found[0].undecided == "something is not known"


def test_the_cause_of_what_explains_explains_too() -> None:
    symptom = finds(FIRST, of=("root",))
    found = ordered(symptom, finds("root"), error=TEXT)
    assert [(one.rule, one.explains_error) for one in found] == [("root", True), (FIRST, True)]


def test_a_rule_that_raises_becomes_a_finding_about_qdoctor() -> None:
    def fail(_: Case) -> list[Finding]:
        raise ZeroDivisionError("by nothing")

    found = ordered(Rule("broken", "", fail), finds("a", "warning"))
    assert [(one.rule, one.severity) for one in found] == [(RULE_FAILED, "error"), ("a", "warning")]
    assert "broken" in found[0].title
    assert "by nothing" in found[0].because[0].text


@pytest.mark.parametrize("machine", ["h100", "cpu"])
def test_a_healthy_machine_has_neither_error_nor_warning(machine: str, described: Machines) -> None:
    found = diagnose(described(machine))[1]
    assert [one for one in found if one.severity != "note"] == []


def test_nothing_known_is_nothing_found() -> None:
    assert diagnose(NOTHING)[1] == []


def test_every_finding_has_evidence_and_every_fix_its_shape(
    described: Machines, machines: Path
) -> None:
    for path in sorted((machines / "described").glob("*.json")):
        for one in diagnose(described(path.stem))[1]:
            assert one.because, one
            assert all(fix.why for fix in one.fixes), one
            assert all("spec" in fix.__struct_fields__ for fix in one.fixes)
            commands = [fix.command for fix in one.fixes if fix.command]
            assert all(text.startswith(("python -m ", "apt-get ")) for text in commands), one


def test_openclip_switchback(described: Machines) -> None:
    text = "AttributeError: module 'triton.language' has no attribute 'libdevice'"
    first = diagnose(described("s0-openclip-switchback"), (), text)[1][0]
    assert (first.rule, first.severity) == ("triton-libdevice-removed", "error")
    offered = [(fix.action, fix.backend or fix.package) for fix in first.fixes]
    assert ("use", "qdoctor-switchback") in offered
    assert ("downgrade", "torch") in offered
    assert all(package != "triton" for _, package in offered)


def test_openclip_guide(described: Machines) -> None:
    text = (
        '  File "/x/bitsandbytes/nn/triton_based_modules.py", line 25, in forward\n'
        "    X_int8, state_X = quantize_rowwise(X)\n"
        "AssertionError"
    )
    first = diagnose(described("s1-openclip-guide"), (), text)[1][0]
    assert (first.rule, first.explains_error) == ("triton-libdevice-removed", True)


def test_v100_merge(described: Machines) -> None:
    first = diagnose(described("s2-v100-merge"), (), TEXT)[1][0]
    assert (first.rule, first.severity) == ("sm-lacks-int8-tensor-cores", "error")
    assert [fix.backend for fix in first.fixes if fix.action == "use"] == ["bnb-nf4", "half"]
    assert not any(fix.backend == "bnb-int8" for fix in first.fixes)
