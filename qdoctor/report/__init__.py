"""A report as text for people or data for programs: one file = one format = one line below."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

from qdoctor.model import BadInput
from qdoctor.report.redaction import redact

if TYPE_CHECKING:
    from qdoctor.model import Report

# Format -> the module that renders it; loaded when asked for.
FORMATS = {
    "text": "qdoctor.report.text",
    "json": "qdoctor.report.json_",
}
VIEWS = ("check", "select", "explain")


class Format(Protocol):
    """What the module of a format offers."""

    def render(self, report: Report, *, color: bool, width: int, view: str) -> str:
        """Write an already redacted report; ends with a newline."""


def render(
    report: Report,
    format: str,  # noqa: A002 - named as the option
    *,
    color: bool = False,
    width: int = 80,
    view: str = "check",
) -> str:
    """Write ``report`` without personal data in one of ``FORMATS``.

    ``width`` is in columns. ``view`` says which question a text answers first (one of ``VIEWS``);
    data formats write the same report for each. Raises ``BadInput`` for an unknown format.
    """
    if format not in FORMATS:
        raise BadInput(f"unknown report format {format!r}: use one of {', '.join(FORMATS)}")
    chosen = cast("Format", importlib.import_module(FORMATS[format]))
    return chosen.render(redact(report), color=color, width=width, view=view)
