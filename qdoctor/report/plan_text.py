"""The part of the text report about planned packages: would they install, import and run?"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qdoctor.model import Report
    from qdoctor.report.paper import Paper

_COLOURS = {"yes": "green", "no": "red", "unknown": "yellow"}


def plan(paper: Paper, report: Report) -> None:
    """One line a question; nothing where no package is planned."""
    if report.plan is None:
        return
    paper.heading("Plan")
    steps = {
        "install": report.plan.installs,
        "import": report.plan.imports,
        "run": report.plan.runs,
    }
    for name, step in steps.items():
        labels = [(name, "dim", 10), (step.answer, _COLOURS[step.answer], 9)]
        paper.row(labels, (step.reason, ""))
