"""Findings on releases that compute wrongly without an error: ``known_bad`` says which, and where.

Shared by the rules on the releases of a package. What a probe showed here outranks the table; an
error text counts only for the row that it is known from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdoctor.layers.wrong_results import rows_of, spared
from qdoctor.model import Finding, Fix
from qdoctor.released import fits
from qdoctor.rules.affected import running
from qdoctor.rules.case import quoted
from qdoctor.rules.observed import what_happened
from qdoctor.rules.what_if import offer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.layers import Answer, Layer
    from qdoctor.machine import Machine
    from qdoctor.model import Observation
    from qdoctor.rules.case import Case, Signal


def told_of(case: Case, name: str, package: str) -> list[Signal]:
    """Return the error texts of a rule that only such a release prints."""
    known = {text for row in rows_of(case.matrix, package) for text in row.get("texts", ())}
    return [one for one in case.signals_of(name) if one.signature in known]


def findings(
    case: Case, name: str, package: str, guards: tuple[Layer, ...] = ()
) -> Iterator[Finding]:
    """Report what the installed release computes wrongly here.

    ``guards`` are layers that a release which is offered instead must not break.
    """
    for row in rows_of(case.matrix, package):
        texts = [one for one in case.signals_of(name) if one.signature in row.get("texts", ())]
        if case.signals_of(name) and not texts:
            continue
        answer = spared(case.machine, case.matrix, row, wherever=bool(texts))
        seen = [] if texts else _shown(case, row)
        if _counts(answer, texts, seen):
            yield _finding(case, name, row, (answer, texts, seen), guards)


def _counts(answer: Answer, texts: list[Signal], seen: list[Observation]) -> bool:
    """Say whether it strikes: what ran here decides, else the facts, else a text accuses."""
    if seen:
        return any(one.outcome == "wrong" for one in seen) and answer.value != "yes"
    return answer.value == "no" or (answer.value == "unknown" and bool(texts))


def _shown(case: Case, row: dict[str, Any]) -> list[Observation]:
    """Return what the probe that shows it saw here, where it came to an answer."""
    by = row.get("shown_by", {"probe": None, "variants": ()})
    return [
        one
        for one in case.observations
        if one.probe == by["probe"]
        and one.variant in by["variants"]
        and one.outcome in {"passed", "wrong"}
    ]


def _finding(
    case: Case,
    name: str,
    row: dict[str, Any],
    known: tuple[Answer, list[Signal], list[Observation]],
    guards: tuple[Layer, ...],
) -> Finding:
    answer, texts, seen = known
    version = case.machine.package(row["package"]).value or row["spec"]
    wrong = [what_happened(one) for one in seen if one.outcome == "wrong"]
    return Finding(
        rule=name,
        severity="note",
        title=f"{row['package']} {version} is silently wrong here: {row['what']}",
        because=[*answer.because, *wrong[:1], *map(quoted, texts)],
        fixes=list(_fixes(case, name, row, guards)),
        undecided=answer.reason if answer.value == "unknown" and not seen else None,
    )


def _fixes(case: Case, name: str, row: dict[str, Any], guards: tuple[Layer, ...]) -> Iterator[Fix]:
    """Offer what changes no package first, then a release that was run and is right."""
    yield Fix(action="change-code", why=row["instead"], verify=name)
    yield from running(case, "it does the same rightly", *row.get("use", ()))
    if "repaired" not in row:
        return

    def right(machine: Machine) -> bool:
        version = machine.package(row["package"]).value or ""
        return bool(fits(case.matrix, row["package"], version, row["repaired"])) and all(
            guard(machine, case.matrix).value != "no" for guard in guards
        )

    why = f"this is right there; {row.get('price', 'it lacks what came later')}"
    yield from offer(case, row["package"], right, why, verify=name)
