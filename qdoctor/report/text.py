"""The report for people: reads well at 80 columns, in colour and without."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qdoctor.report import (
    explain_text,
    gpus_text,
    machine_text,
    plan_text,
    probes_text,
    selection_text,
)
from qdoctor.report.findings_text import briefly, fully, of_one_kind
from qdoctor.report.paper import Paper, Part
from qdoctor.report.probes_text import joined, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.model import Report, Verdict

_ANSWERS = {"yes": "green", "no": "red", "unknown": "yellow"}


def render(report: Report, *, color: bool, width: int, view: str) -> str:
    """Write the report; ``view`` says which question comes first (one of ``report.VIEWS``)."""
    paper = Paper(color=color, width=width)
    machine_text.target(paper, report)
    for section in _VIEWS[view]:
        section(paper, report)
    return paper.written()


def _findings(paper: Paper, report: Report) -> None:
    paper.heading("Findings")
    if not report.findings and report.selected:
        paper.line(("nothing is wrong with what was examined", "green"), indent=2)
    elif not report.findings:
        paper.line(("nothing is known to be wrong; what is unknown decides", "yellow"), indent=2)
    told = [finding for finding in report.findings if finding.severity != "note"]
    notes = [finding for finding in report.findings if finding.severity == "note"]
    for finding, devices in of_one_kind(report, told):
        fully(paper, finding, devices)
    for finding, devices in of_one_kind(report, notes):
        briefly(paper, finding, devices)
    if len(told) < len(report.findings):
        hint = "what a note means, its evidence and what to do: qdoctor explain NAME"
        paper.line((hint, "dim"), indent=2)


def _backends(paper: Paper, report: Report) -> None:
    paper.heading("Backends")
    for names, verdict in _alike(report.verdicts):
        chosen = "bold green" if verdict.backend == report.selected else "bold"
        told: list[Part] = [
            (text, "") for text in (_figures(verdict), shortened(verdict.reason)) if text
        ]
        labels = [(verdict.usable, _ANSWERS[verdict.usable], 9)]
        paper.row(labels, *joined([(", ".join(names), chosen), *told]))


def _alike(verdicts: Sequence[Verdict]) -> list[tuple[list[str], Verdict]]:
    """Put the backends together that one reason keeps out; a usable one has its own figures."""
    kinds: dict[tuple[str, str], tuple[list[str], Verdict]] = {}
    for verdict in verdicts:
        own = verdict.backend if verdict.usable == "yes" else verdict.usable
        kinds.setdefault((own, verdict.reason), ([], verdict))[0].append(verdict.backend)
    return list(kinds.values())


def _figures(verdict: Verdict) -> str:
    if verdict.usable != "yes":
        return ""
    speed, error, size = verdict.speedup_vs_half, verdict.rel_error, verdict.weight_bytes_per_param
    about = "" if verdict.measured_on else "near "
    figures = [
        f"{speed:.2g}x the speed of half" if speed and verdict.backend != "half" else "",
        f"rel. error {about}{error:.2g}" if error is not None else "",
        f"{size:.3g} bytes a weight" if size is not None else "",
    ]
    return ", ".join(text for text in figures if text)


def _selected(paper: Paper, report: Report) -> None:
    paper.line()
    open_question = next((one for one in report.verdicts if one.usable == "unknown"), None)
    if report.selected:
        paper.line(("Selected: ", "bold"), (report.selected, "bold green"), (_grounds(report), ""))
    elif open_question is not None:
        why = f" - whether {open_question.backend} works is not known: "
        paper.line(("Selected: none", "bold yellow"), (why, ""), (open_question.reason, ""))
    else:
        paper.line(("Selected: none", "bold yellow"), (" - no backend works here", ""))


def _preferred(paper: Paper, report: Report) -> None:
    """The selection, and how to have it decided by a measurement: here preference decides."""
    _selected(paper, report)
    if report.selected:
        paper.line(("to measure the backends against each other: qdoctor select", "dim"), indent=2)


def _grounds(report: Report) -> str:
    """What the selection rests on: a measurement, or files alone."""
    chosen = next((one for one in report.verdicts if one.backend == report.selected), None)
    if chosen is None or not chosen.measured_on:
        return " - by the files and the matrix; its speed was not measured here"
    if chosen.speedup_vs_half and chosen.backend != "half":
        speed = f"{chosen.speedup_vs_half:.2g}x the speed of half"
        return f" - it ran at {speed} on {chosen.measured_on}"
    return " - it ran here"


def _choice(paper: Paper, report: Report) -> None:
    """What to use, and why nothing else; of a report that selects nothing, the verdicts."""
    if report.selection is None:
        _selected(paper, report)
        _backends(paper, report)
        return
    selection_text.selected(paper, report.selection)
    _required(paper, report)
    selection_text.candidates(paper, report.selection)
    selection_text.measured(paper, report.selection)


def _required(paper: Paper, report: Report) -> None:
    """What is wrong with a backend that was asked for by name, with its fixes."""
    for finding in report.findings:
        slow = finding.severity == "warning" and finding.rule == "int8-slower-than-half"
        if finding.severity == "error" or slow:
            fully(paper, finding, finding.devices)


def _closing(paper: Paper, report: Report) -> None:
    paper.line()
    paper.line(("An error in hand? Ask which of these causes it:", "dim"))
    paper.command("your-command 2>&1 | qdoctor explain -", indent=2)
    _versions(paper, report)


def _versions(paper: Paper, report: Report) -> None:
    versions = f"qdoctor {report.tool_version}, matrix {report.matrix_version}"
    paper.line((f"{versions}, exit code {report.exit_code}", "dim"))


_Section = Callable[[Paper, "Report"], None]
_VIEWS: dict[str, tuple[_Section, ...]] = {
    "check": (
        machine_text.machine,
        plan_text.plan,
        _findings,
        probes_text.probes,
        _backends,
        gpus_text.gpus,
        _preferred,
        _closing,
    ),
    "select": (_choice, gpus_text.gpus, _closing),
    "explain": (explain_text.explained, _selected, _versions),
}
