"""The report as JSON, ``qdoctor/report/1``: a complete replay of one examination."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from qdoctor import model

if TYPE_CHECKING:
    from qdoctor.model import Noun, Report

# Legal inside JSON, yet a terminal obeys them: C1 controls, line separators, writing direction.
_OBEYED = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def render(report: Report, *, color: bool, width: int, view: str) -> str:
    """Write the report as JSON; colour, width and view do not apply to data."""
    del color, width, view
    return write(report)


def write(noun: Noun) -> str:
    """Write any noun as indented JSON that is safe to show in a terminal."""
    return _safe(model.to_json(noun)) + "\n"


def of_plain(plain: dict[str, Any]) -> str:
    """Write plain values likewise, keys in their order."""
    return _safe(json.dumps(plain, indent=2, ensure_ascii=False)) + "\n"


def _safe(text: str) -> str:
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
