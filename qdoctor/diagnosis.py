"""Facts, observations and an error text -> findings: runs the rules, weighs and orders them.

Pure: no machine is touched. Severity follows need: what takes away something that was asked for is
an error, and so is what explains the error text; the rest keeps the severity of its rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from qdoctor import guessed, several_gpus
from qdoctor.implied_text import informed, possible, wordings
from qdoctor.machine import complete
from qdoctor.matrix import shipped
from qdoctor.model import Because, Finding, Fix, Severity
from qdoctor.rules import RULES
from qdoctor.rules.case import Case, Rule, Signal
from qdoctor.rules.demanded_sm import unmet
from qdoctor.rules.likelihood import ordered
from qdoctor.rules.signatures import known_in, plain
from qdoctor.rules.what_if import with_package

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix
    from qdoctor.model import Facts, Observation
    from qdoctor.plan import Problem

RULE_FAILED = "qdoctor-rule-failed"
_NOTHING = Fix(action="none", why="nothing to fix: nobody asked for it here, and the rest runs")
_WEIGHT: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}


def diagnose(  # noqa: PLR0913, PLR0917 - the question has these parts (contract)
    facts: Facts,
    observations: Iterable[Observation] = (),
    error: str | None = None,
    need: Sequence[str] = (),
    matrix: Matrix | None = None,
    rules: Sequence[Rule] = RULES,
    refused: Sequence[Problem] = (),
) -> tuple[Machine, list[Finding]]:
    """Judge one machine.

    Args:
        facts: what is known of it; everything missing is unknown.
        observations: what the probes saw on it, with what was expected of them.
        error: an error text or log to explain; only what explains it gets ``explains_error``.
        need: backends, ``gpu`` or probes that have to work: what takes one away is an error.
        matrix: the compatibility data, the shipped one by default.
        rules: what is looked for.
        refused: why an installer would refuse the planned packages.

    Returns:
        The machine with its facts completed, and the findings: what explains the error first, a
        cause before its symptoms, then by severity. With several GPUs each is judged; what holds
        for some says so (``devices``), and a need is asked of the first one.
    """
    matrix = matrix or shipped()
    machine = complete(facts, matrix)
    text = plain(error, matrix) if error else ""
    signals = known_in(text, matrix) if text else ()
    stated = guessed.without_guesses(machine)
    machine = informed(machine, signals, text, matrix) if text else machine
    signals = ordered(unmet(signals, machine), machine)
    seen = _Seen(tuple(observations), matrix, signals, tuple(refused))
    explained = _explain(seen.on(machine, rules), signals, rules)
    harmless = {rule.name for rule in rules if rule.harmless}
    folded = _fold(explained, rules)
    if error and stated != machine:
        folded = guessed.noted(folded, lambda names: seen.on(stated, _named(rules, names)))
    marked = [_weigh(one, need, harmless) for one in folded]
    return machine, _asides_last(_ordered(marked, signals), rules)


class _Seen(NamedTuple):
    """What rules are asked about beside the machine."""

    observations: tuple[Observation, ...]
    matrix: Matrix
    signals: tuple[Signal, ...]
    refused: tuple[Problem, ...]

    def on(self, machine: Machine, rules: Sequence[Rule]) -> list[Finding]:
        """Run rules on every GPU of a machine."""
        return several_gpus.merged(
            [
                [finding for rule in rules for finding in _run(rule, case)]
                for look in several_gpus.looks(machine, self.observations)
                for case in [_case(look, self.matrix, self.signals, self.refused)]
            ]
        )


def _named(rules: Sequence[Rule], names: Collection[str]) -> list[Rule]:
    return [rule for rule in rules if rule.name in names]


def _case(
    look: several_gpus.Look,
    matrix: Matrix,
    signals: tuple[Signal, ...],
    refused: tuple[Problem, ...],
) -> Case:
    """Make the case; a package known only by how it words its texts may be any such release."""
    found = wordings(signals)
    candidates = tuple(
        with_package(look.machine, matrix, package, version)
        for package in dict.fromkeys(one.package for one in found)
        if look.machine.package(package).value is None
        for version in possible(package, found, matrix)
    )
    return Case(
        look.machine,
        look.observations,
        matrix,
        signals,
        refused,
        candidates=candidates,
        beside=look.beside,
    )


def _run(rule: Rule, case: Case) -> list[Finding]:
    """Run one rule; one that raises must not take the report with it."""
    try:
        return list(rule.find(case))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a bug of ours to report
        what = f"{type(error).__name__}: {error}"
        because = Because(text=what, source=f"the rule {rule.name}", strength="observed")
        title = f"qdoctor's own rule {rule.name} failed; please report this with `qdoctor facts`"
        return [Finding(rule=RULE_FAILED, severity="error", title=title, because=[because])]


def _explain(
    found: list[Finding], signals: Sequence[Signal], rules: Sequence[Rule]
) -> list[Finding]:
    """Mark what explains the error text.

    Among the rules known to print one text, those that the facts confirm rule out those that only
    the text accuses. What is left alone is decided, unless it is about what is not covered yet.
    """
    explaining = _explaining(found, signals)
    kept = [one for one in found if one.undecided is None or one.rule in explaining]
    open_ = {rule.name for rule in rules if not rule.covered}
    alone = {one.rule for one in kept if not _rivals(one, kept, signals)} - open_
    return [
        msgspec.structs.replace(
            one,
            explains_error=one.rule in explaining,
            undecided=None if one.rule in alone else one.undecided,
        )
        for one in kept
    ]


def _explaining(found: list[Finding], signals: Sequence[Signal]) -> set[str]:
    rules: set[str] = set()
    for signal in signals:
        named = [one for one in found if one.rule in signal.rules and _counts(one, signal)]
        sure = [one for one in named if one.undecided is None]
        rules.update(one.rule for one in sure or named)
    return rules


def _counts(one: Finding, signal: Signal) -> bool:
    """Say whether a text may speak for a finding: some only for what facts confirm."""
    return one.undecided is None or one.rule not in signal.confirmed


def _rivals(one: Finding, kept: list[Finding], signals: Sequence[Signal]) -> set[str]:
    """Name the other findings that print the same text as ``one``."""
    named = {rule for signal in signals if one.rule in signal.rules for rule in signal.rules}
    return {other.rule for other in kept if other.rule in named} - {one.rule}


def _fold(found: list[Finding], rules: Sequence[Rule]) -> list[Finding]:
    """Put symptoms under the cause that was found; the cause of what explains, explains."""
    causes = {rule.name: rule.symptom_of for rule in rules}
    folded = [
        msgspec.structs.replace(one, symptom_of=_cause(causes.get(one.rule, ()), found, one))
        for one in found
    ]
    blamed = {one.symptom_of for one in folded if one.explains_error}
    return [
        msgspec.structs.replace(one, explains_error=True) if one.rule in blamed else one
        for one in folded
    ]


def _cause(candidates: tuple[str, ...], found: list[Finding], one: Finding) -> str | None:
    """Name the first candidate that was found on a GPU that ``one`` is about.

    What is only suspected, because of a text, brings nothing else about that is suspected too.
    """
    present = {
        other.rule
        for other in found
        if several_gpus.share_a_gpu(one, other) and not (one.undecided and other.undecided)
    }
    return one.symptom_of or next((name for name in candidates if name in present), None)


def _weigh(one: Finding, need: Sequence[str], harmless: Collection[str]) -> Finding:
    """Raise what stands between the user and a need, or surely explains the text, to an error.

    What says that nothing is wrong with the environment is no error, whatever it explains.
    """
    explains = one.explains_error and one.undecided is None and one.rule not in harmless
    asked = several_gpus.holds_on(one, 0) and bool(set(one.affects) & set(need))
    wanted = explains or asked
    return msgspec.structs.replace(one, severity="error") if wanted else one


def _asides_last(ordered: list[Finding], rules: Sequence[Rule]) -> list[Finding]:
    """Move to the end what a GPU never had, where nobody asked for it: it is in the verdicts.

    There it is nothing to fix either, and says so before it names what runs instead.
    """
    names = {rule.name for rule in rules if rule.aside}
    aside = [
        one.rule in names and one.severity == "note" and not one.explains_error for one in ordered
    ]
    kept = [one for one, moved in zip(ordered, aside, strict=True) if not moved]
    return kept + [_at_ease(one) for one, moved in zip(ordered, aside, strict=True) if moved]


def _at_ease(one: Finding) -> Finding:
    """Say first that nothing has to change, where nobody asked for what is not there."""
    if any(fix.action == "none" for fix in one.fixes):
        return one
    return msgspec.structs.replace(one, fixes=[_NOTHING, *one.fixes])


def _ordered(found: list[Finding], signals: Sequence[Signal]) -> list[Finding]:
    """Order by: explains the error (the last text first), then severity; symptoms under causes."""
    ranked = sorted(found, key=lambda one: _rank(one, found, signals))
    ordered: list[Finding] = []
    for one in ranked:
        if one.symptom_of is None:
            _append_with_symptoms(one, ranked, ordered)
    return ordered + [one for one in ranked if not _is_in(one, ordered)]


def _append_with_symptoms(one: Finding, ranked: list[Finding], ordered: list[Finding]) -> None:
    if _is_in(one, ordered):
        return
    ordered.append(one)
    for other in ranked:
        if other.symptom_of == one.rule:
            _append_with_symptoms(other, ranked, ordered)


def _is_in(one: Finding, some: list[Finding]) -> bool:
    """Compare by identity: two findings of one rule may be equal."""
    return any(one is other for other in some)


def _rank(
    one: Finding, found: list[Finding], signals: Sequence[Signal]
) -> tuple[bool, bool, tuple[int, int], int]:
    """Rank one finding; a cause weighs as much as the heaviest of its symptoms."""
    weights = [_WEIGHT[other.severity] for other in found if other.symptom_of == one.rule]
    place = _place(one.rule, signals) if one.explains_error else (0, 0)
    weight = min([_WEIGHT[one.severity], *weights])
    return not one.explains_error, one.undecided is not None, place, weight


def _place(rule: str, signals: Sequence[Signal]) -> tuple[int, int]:
    """Return which text names ``rule``, and where; the cause of what a text names comes first."""
    for number, signal in enumerate(signals):
        if rule in signal.rules:
            return number, signal.rules.index(rule)
    return -1, 0
