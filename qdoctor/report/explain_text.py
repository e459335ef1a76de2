"""The answer to an error text, for people: one sentence, its evidence, the fix, how sure it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.report import machine_text
from qdoctor.report.findings_text import briefly, fixes, of_one_kind, only_on, place
from qdoctor.report.probes_text import joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.model import Because, Finding, Report
    from qdoctor.report.paper import Paper, Part

_EVIDENCE = 3
_LONGEST_REASON = 110
_LONGEST_PLACE = 90
_SURE = "no other known cause of this text fits what is known of this machine"
_WHOLE_LOG = "your-command 2>&1 | qdoctor explain -"


def explained(paper: Paper, report: Report) -> None:
    """Answer what the error text means here; what else was found comes last and short."""
    kinds = of_one_kind(report, [one for one in report.findings if one.explains_error])
    paper.heading("Answer")
    if kinds:
        _answer(paper, *kinds[0])
        _to_decide(paper, report, kinds[0][0])
        _others(paper, kinds)
    else:
        _no_cause(paper, report)
    rest = [one for one in report.findings if not one.explains_error]
    if rest:
        paper.heading("Also found, not said to explain it")
    for finding, devices in of_one_kind(report, rest):
        briefly(paper, finding, devices)
    _elsewhere(paper, report)


def _elsewhere(paper: Paper, report: Report) -> None:
    """Say how to name the text's own environment, where this can hardly be it: without torch."""
    absent = (report.facts.packages or {}).get("torch") == ""
    if report.target.kind != "interpreter" or not absent:
        return
    paper.heading("Is the text from another environment?")
    paper.line(
        ("torch is not installed in the one that was examined; name the other:", ""), indent=2
    )
    paper.command("qdoctor explain --python PATH/TO/VENV ...", indent=4)


def _answer(paper: Paper, finding: Finding, devices: Sequence[str]) -> None:
    colour = "bold yellow" if finding.undecided else "bold"
    paper.line(*joined([(_sentence(finding), colour), *only_on(finding, devices)]), indent=2)
    how = f"only the text says so: {finding.undecided}" if finding.undecided else _SURE
    label = ("undecided", "yellow", 11) if finding.undecided else ("decided", "green", 11)
    paper.row([label], *joined([(finding.rule, "bold"), (how, "")]))
    _evidence(paper, finding.because)
    _what_to_do(paper, finding)


def _what_to_do(paper: Paper, finding: Finding) -> None:
    """Write the fixes; where nothing is wrong, why, and what a person may still like to change."""
    offered = [fix for fix in finding.fixes if fix.action != "none"]
    harmless = [fix for fix in finding.fixes if fix.action == "none"]
    for fix in harmless:
        paper.heading("Fix")
        paper.line((fix.why, ""), indent=2)
    if offered:
        paper.heading("To be rid of the text" if harmless else "Fix")
    elif not harmless:
        paper.heading("Fix")
        paper.line(("none is known that is true for what is known of this machine", ""), indent=2)
    fixes(paper, offered, indent=2)


def _sentence(finding: Finding) -> str:
    """Say in one sentence what is wrong, or that nothing is."""
    if finding.undecided:
        return f"most likely: {finding.title}"
    if finding.severity != "note":
        return finding.title
    if any(fix.action == "none" for fix in finding.fixes):
        return f"nothing to fix, because {finding.title}"
    return f"nothing to fix in this environment: {finding.title}"


def _evidence(paper: Paper, reasons: Sequence[Because]) -> None:
    """Write at most three reasons, one of each strength before a second of any."""
    paper.heading("Evidence")
    first: dict[str, Because] = {}
    for reason in reasons:
        first.setdefault(reason.strength, reason)
    ranked = [*first.values(), *(one for one in reasons if one not in first.values())]
    kept = [one for one in reasons if one in ranked[:_EVIDENCE]][:_EVIDENCE]
    for reason in kept:
        source: Part = (f" [{_cut(place(reason).split(';')[0], _LONGEST_PLACE)}]", "dim")
        labels = [(reason.strength, "dim", 11)]
        paper.row(labels, (_cut(reason.text, _LONGEST_REASON), ""), source)
    if len(reasons) > len(kept):
        paper.line((f"and {len(reasons) - len(kept)} more: --format json", "dim"), indent=2)


def _to_decide(paper: Paper, report: Report, finding: Finding) -> None:
    """Name the single fact that would tell this cause from the others, and how to learn it."""
    if finding.undecided is None:
        return
    paper.heading("What would decide")
    missing = finding.decided_by
    if missing is None:
        paper.line((finding.undecided, ""), indent=2)
        return
    paper.line((missing.fact, "bold"), (", which this tells:", ""), indent=2)
    paper.command(missing.how, indent=4)
    if report.target.kind == "described":
        told = "or everything at once: `qdoctor facts` in that environment; its output is"
        paper.line((f"{told} what --facts takes", ""), indent=2)


def _others(paper: Paper, kinds: Sequence[tuple[Finding, list[str]]]) -> None:
    if len(kinds) > 1:
        undecided = kinds[0][0].undecided is not None
        paper.heading("Other causes it may have" if undecided else "Also part of it")
    for finding, devices in kinds[1:]:
        briefly(paper, finding, devices)


def _no_cause(paper: Paper, report: Report) -> None:
    """Say that nothing is known, and what was looked at: never a cause to have one."""
    paper.line(("no cause known for this text", "bold yellow"), indent=2)
    paper.row(
        [("checked", "dim", 11)],
        ("the text, for every error text that qdoctor knows; and this machine, by every rule", ""),
    )
    machine_text.machine(paper, report)
    paper.heading("What may help")
    paper.line(
        ("the whole log, from its first failure on, in place of a line of it:", ""), indent=2
    )
    paper.command(_WHOLE_LOG, indent=4)


def _cut(text: str, longest: int) -> str:
    """The beginning of a text, cut at a word, unless that would take half of it away."""
    if len(text) <= longest:
        return text
    words = text[:longest].rsplit(" ", 1)[0]
    return f"{words} …" if len(words) > longest // 2 else f"{text[:longest]}…"
