"""Findings and fixes in the text report, as its views share them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qdoctor.fix_order import BEYOND
from qdoctor.report.devices import shortly, told_of_any
from qdoctor.report.probes_text import joined, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qdoctor.model import Action, Because, Finding, Fix, Report
    from qdoctor.report.paper import Paper, Part

_COLOURS = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_WHEEL = re.compile(r"([A-Za-z0-9_.]+-\d[^-\s]*)-\S+\.whl")
"""A wheel's file name; its release says enough to people."""
_UNSAFE = "unsafe: read before running"
_BEYOND = "changes the machine, not this environment"
_BY_HAND = "by hand"
_IN_CODE = "in your program"
_OF_CODE: frozenset[Action] = frozenset({"change-code", "disable", "use"})
_SAYS_ENOUGH: frozenset[Action] = frozenset({"ignore", "none", "restart-kernel"})


def of_one_kind(report: Report, findings: Iterable[Finding]) -> list[tuple[Finding, list[str]]]:
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


def only_on(finding: Finding, devices: Sequence[str]) -> list[Part]:
    """Name the GPUs of a finding, unless its title does."""
    if not devices or (len(devices) == 1 and devices[0] in finding.title):
        return []
    return [(f"on {shortly(devices)}", "yellow")]


def briefly(paper: Paper, finding: Finding, devices: Sequence[str]) -> None:
    """Write one line, for what takes away only what nobody asked for."""
    labels = [(finding.severity, _COLOURS[finding.severity], 9)]
    parts: list[Part] = [(finding.rule, "bold"), (finding.title, ""), *only_on(finding, devices)]
    if finding.symptom_of:
        parts.append((f"follows from {finding.symptom_of}", "dim"))
    if finding.undecided:
        parts.append((f"unknown: {finding.undecided}", "yellow"))
    paper.row(labels, *joined(parts))


def fully(paper: Paper, finding: Finding, devices: Sequence[str]) -> None:
    """Write a finding with all its evidence and fixes."""
    heading: list[Part] = [(finding.rule, "bold"), *only_on(finding, devices)]
    if finding.explains_error:
        heading.append(("explains the error", "bold"))
    if finding.symptom_of:
        heading.append((f"follows from {finding.symptom_of}", "dim"))
    paper.row([(finding.severity, _COLOURS[finding.severity], 9)], *joined(heading))
    paper.line((finding.title, ""), indent=4)
    for reason in finding.because:
        source: Part = (f" [{reason.strength}: {place(reason)}]", "dim")
        paper.row([("because", "dim", 9)], (shortened(reason.text), ""), source, indent=4)
    if finding.undecided:
        paper.row([("unknown", "yellow", 9)], (finding.undecided, ""), indent=4)
    fixes(paper, finding.fixes, indent=4)


def place(reason: Because) -> str:
    """Say where a reason was read, a wheel by its release."""
    return _WHEEL.sub(r"\1 wheel", reason.source)


def fixes(paper: Paper, offered: Sequence[Fix], *, indent: int) -> None:
    """Write fixes in their order, each after the first as another way."""
    for number, fix in enumerate(offered):
        label = "or" if number else "fix"
        _fix(paper, fix, label, indent)


def _fix(paper: Paper, fix: Fix, label: str, indent: int) -> None:
    subject = fix.package or fix.backend or fix.name
    change = [fix.action, *([subject + (fix.spec or "")] if subject else [])]
    if fix.value is not None:
        change.append(f"= {fix.value}")
    if fix.index:
        change.append(f"(build {fix.index})")
    parts: list[Part] = [(" ".join(change), "bold"), (f": {fix.why}" if fix.why else "", "")]
    kind = _kind(fix)
    labelled: list[Part] = [(f" ({kind})", "yellow")] if kind else []
    paper.row([(label, "green", 9)], *parts, *labelled, indent=indent)
    if fix.command:
        paper.command(fix.command, indent=indent + 9)
    if fix.verify:
        paper.line((f"verify: {fix.verify}", "dim"), indent=indent + 9)


def _kind(fix: Fix) -> str:
    """Label what is more, or other, than a command to run."""
    if fix.applicability == "unsafe":
        return _UNSAFE
    if fix.action in BEYOND:
        return _BEYOND
    if fix.applicability == "safe" or fix.command or fix.action in _SAYS_ENOUGH:
        return ""
    return _IN_CODE if fix.action in _OF_CODE else _BY_HAND
