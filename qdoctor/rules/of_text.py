"""Makes a rule of error texts: what each text means, and what to change, is data.

``matrix/tables/answers.json`` holds one row for each text (a row of ``signatures.json``) and rule.
A fix that facts refute is left out: a release that is installed already, a backend that does not
run here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packaging.specifiers import SpecifierSet

from qdoctor.model import Because, Finding, Fix
from qdoctor.released import parsed
from qdoctor.rules.affected import running
from qdoctor.rules.case import Rule, quoted, rule
from qdoctor.rules.remedies import pip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Severity
    from qdoctor.rules.case import Case, Signal

_OF_SYSTEM = "install-system"


def of_texts(  # noqa: PLR0913 - a rule has these parts
    name: str,
    doc: str | None,
    *,
    severity: Severity,
    harmless: bool = False,
    undecided: str | None = None,
    symptom_of: tuple[str, ...] = (),
) -> Rule:
    """Make a rule that says of each text what the table says of it.

    ``undecided`` is what would decide, where the facts leave open which of several problems
    printed the text.
    """

    def find(case: Case) -> Iterator[Finding]:
        for signal in case.signals_of(name):
            row = answer_to(case, name, signal)
            if row is not None:
                yield answered(case, name, severity, signal, row, undecided)

    return rule(name, doc, find, harmless=harmless, symptom_of=symptom_of)


def answer_to(case: Case, name: str, signal: Signal) -> dict[str, Any] | None:
    """Return the row that says what a text means for a rule on this machine; None for none."""
    rows: list[dict[str, Any]] = case.matrix.table("answers")["rows"]
    gpu = "known" if case.machine.usable_gpus or _stated(case) else "unknown"
    return next(
        (
            row
            for row in rows
            if row["rule"] == name
            and signal.signature in row["texts"]
            and row.get("gpu", gpu) == gpu
            and _concerned(case, signal, row)
        ),
        None,
    )


def _stated(case: Case) -> bool:
    """Say whether anything is stated of the machine beside what a text gives away."""
    facts = case.machine.facts
    return bool(facts.python or facts.packages or facts.driver or facts.torch_cuda)


def _concerned(case: Case, signal: Signal, row: dict[str, Any]) -> bool:
    """Say whether a row is about what runs here: ``beside`` one of some packages, or ``apart``.

    Where no packages are stated, any of them may be there; ``where`` asks for stated releases,
    ``system`` for stated operating systems, ``able`` for a GPU that may have an ability.
    """
    if "able" in row and _lacks(case, row["able"]):
        return False
    if case.machine.os.value not in row.get("system", [case.machine.os.value]):
        return False
    names: list[str] = row.get("beside", row.get("apart", []))
    stated = case.machine.facts.packages or {}
    asked: dict[str, str] = row.get("where", {})
    if not all(_installed_is_in(case, one, spec) and one in stated for one, spec in asked.items()):
        return False
    if row["strength"] == "mined" and any(_is_of_no_release(case, one) for one in asked):
        return False  # the wheels of releases tell nothing of it
    there = not stated or any(stated.get(one) or one in signal.asked_by for one in names)
    return there if "beside" in row else not ("apart" in row and there)


def _lacks(case: Case, ability: str) -> bool:
    """Say whether the GPU is known to lack an ability (table ``sm``)."""
    row = case.matrix.row("sm", case.machine.sm.value) if case.machine.sm.value else None
    return row is not None and row.get(ability) is False


def answered(  # noqa: PLR0913, PLR0917 - a finding has these parts
    case: Case,
    name: str,
    severity: Severity,
    signal: Signal,
    row: dict[str, Any],
    undecided: str | None,
    *further: Because,
) -> Finding:
    """Say what the table says of a text that was recognized."""
    source: str = case.matrix.table("answers")["sources"][row["source"]]
    return Finding(
        rule=name,
        severity=severity,
        title=row["title"],
        because=[quoted(signal), Because(row["because"], source, row["strength"]), *further],
        fixes=[fix for one in row["fixes"] for fix in offered(case, name, one)],
        undecided=undecided,
    )


def offered(case: Case, name: str, one: dict[str, Any]) -> list[Fix]:
    """Turn a row's fix into what can be offered here; [] where the facts speak against it."""
    action, why, package = one["action"], one["why"], one.get("package")
    if "backend" in one:
        return running(case, why, one["backend"])
    if "os" in one and case.machine.os.value not in {None, one["os"]}:
        return []
    if package is None:
        called: str | None = one.get("name")
        of_system = called if action == _OF_SYSTEM else None
        return [Fix(action=action, why=why, package=of_system, name=called, value=one.get("value"))]
    spec = one.get("spec", "")
    if spec and _installed_is_in(case, package, spec):
        return []
    return [pip(action, package, spec, why, verify=name)]


def _is_of_no_release(case: Case, package: str) -> bool:
    version = parsed(case.machine.package(package).value)
    return version is not None and version.is_devrelease


def _installed_is_in(case: Case, package: str, spec: str) -> bool:
    version = parsed(case.machine.package(package).value)
    return version is not None and SpecifierSet(spec).contains(version, prereleases=True)
