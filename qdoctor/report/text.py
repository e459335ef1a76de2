"""The report for people: reads well at 80 columns, in colour and without."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from qdoctor.report import gpus_text, machine_text, plan_text, probes_text
from qdoctor.report.devices import shortly, told_of_any
from qdoctor.report.paper import Paper, Part
from qdoctor.report.probes_text import joined, shortened

if TYPE_CHECKING:
    from qdoctor.model import Finding, Fix, Report, Verdict

_COLOURS = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_ANSWERS = {"yes": "green", "no": "red", "unknown": "yellow"}
_WHEEL = re.compile(r"([A-Za-z0-9_.]+-\d[^-\s]*)-\S+\.whl")
"""A wheel's file name; its release says enough to people."""


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
    for finding, devices in _of_one_kind(report, told):
        _finding(paper, finding, devices)
    for finding, devices in _of_one_kind(report, notes):
        _briefly(paper, finding, devices)
    if len(told) < len(report.findings):
        hint = "what a note means, its evidence and what to do: qdoctor explain NAME"
        paper.line((hint, "dim"), indent=2)


def _causes(paper: Paper, report: Report) -> None:
    """The findings that explain the error text, and only then what was found beside it."""
    causes = [finding for finding in report.findings if finding.explains_error]
    paper.heading("What explains the error")
    if not causes:
        paper.line(("nothing that qdoctor knows explains this text", "yellow"), indent=2)
    for finding, devices in _of_one_kind(report, causes):
        _finding(paper, finding, devices)
    others = [finding for finding in report.findings if not finding.explains_error]
    if others:
        paper.heading("Also found, not said to explain it")
    for finding, devices in _of_one_kind(report, others):
        _briefly(paper, finding, devices)


def _of_one_kind(report: Report, findings: Iterable[Finding]) -> list[tuple[Finding, list[str]]]:
    """Put together what is found on several GPUs, which are named unless they are all.

    The first finding speaks for the others, which differ in details.
    """
    kinds: dict[tuple[str, ...], list[Finding]] = {}
    for one in findings:
        kinds.setdefault((one.rule, one.severity, told_of_any(one.title)), []).append(one)
    every = len(report.gpu_verdicts)
    return [
        (one, devices if len(devices) < every or one.title != told_of_any(one.title) else [])
        for alike in kinds.values()
        for devices in [[device for each in alike for device in each.devices]]
        for one in (alike[:1] if alike[0].devices else alike)
    ]


def _only_on(finding: Finding, devices: list[str]) -> list[Part]:
    """Name the GPUs of a finding, unless its title does."""
    if not devices or (len(devices) == 1 and devices[0] in finding.title):
        return []
    return [(f"on {shortly(devices)}", "yellow")]


def _briefly(paper: Paper, finding: Finding, devices: list[str]) -> None:
    """One line for what takes away only what nobody asked for."""
    labels = [(finding.severity, _COLOURS[finding.severity], 9)]
    parts: list[Part] = [(finding.rule, "bold"), (finding.title, ""), *_only_on(finding, devices)]
    if finding.symptom_of:
        parts.append((f"follows from {finding.symptom_of}", "dim"))
    if finding.undecided:
        parts.append((f"unknown: {finding.undecided}", "yellow"))
    paper.row(labels, *joined(parts))


def _finding(paper: Paper, finding: Finding, devices: list[str]) -> None:
    heading: list[Part] = [(finding.rule, "bold"), *_only_on(finding, devices)]
    if finding.explains_error:
        heading.append(("explains the error", "bold"))
    if finding.symptom_of:
        heading.append((f"follows from {finding.symptom_of}", "dim"))
    paper.row([(finding.severity, _COLOURS[finding.severity], 9)], *joined(heading))
    paper.line((finding.title, ""), indent=4)
    for reason in finding.because:
        place = _WHEEL.sub(r"\1 wheel", reason.source)
        source: Part = (f" [{reason.strength}: {place}]", "dim")
        paper.row([("because", "dim", 9)], (shortened(reason.text), ""), source, indent=4)
    if finding.undecided:
        paper.row([("unknown", "yellow", 9)], (finding.undecided, ""), indent=4)
    for fix in finding.fixes:
        _fix(paper, fix)


def _fix(paper: Paper, fix: Fix) -> None:
    subject = fix.package or fix.backend or fix.name
    change = [fix.action, *([subject + (fix.spec or "")] if subject else [])]
    if fix.value is not None:
        change.append(f"= {fix.value}")
    if fix.index:
        change.append(f"(build {fix.index})")
    risk: Part = (" (unsafe: read before running)", "yellow")
    parts: list[Part] = [(" ".join(change), "bold"), (f": {fix.why}" if fix.why else "", "")]
    paper.row(
        [("fix", "green", 9)], *parts, *([risk] if fix.applicability == "unsafe" else []), indent=4
    )
    if fix.command:
        paper.command(fix.command, indent=13)
    if fix.verify:
        paper.line((f"verify: {fix.verify}", "dim"), indent=13)


def _backends(paper: Paper, report: Report) -> None:
    paper.heading("Backends")
    for verdict in report.verdicts:
        chosen = "bold green" if verdict.backend == report.selected else "bold"
        told: list[Part] = [
            (text, "") for text in (_figures(verdict), shortened(verdict.reason)) if text
        ]
        labels = [(verdict.usable, _ANSWERS[verdict.usable], 9)]
        paper.row(labels, *joined([(verdict.backend, chosen), *told]))


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


def _grounds(report: Report) -> str:
    """What the selection rests on: a measurement, or files alone."""
    chosen = next((one for one in report.verdicts if one.backend == report.selected), None)
    if chosen is None or not chosen.measured_on:
        return " - by the files and the matrix; its speed was not measured here"
    if chosen.speedup_vs_half and chosen.backend != "half":
        speed = f"{chosen.speedup_vs_half:.2g}x the speed of half"
        return f" - it ran at {speed} on {chosen.measured_on}"
    return " - it ran here"


def _closing(paper: Paper, report: Report) -> None:
    paper.line()
    paper.line(("An error in hand? Ask which of these causes it:", "dim"))
    paper.command("your-command 2>&1 | qdoctor explain -", indent=2)
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
        _selected,
        _closing,
    ),
    "select": (_selected, _backends, gpus_text.gpus, _closing),
    "explain": (_causes, _selected, _closing),
}
