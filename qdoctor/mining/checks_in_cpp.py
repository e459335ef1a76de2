"""What a package's C++ sources say of what they are given: ``TORCH_CHECK(..., "text")``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qdoctor.mining.program_texts import HOLE, shape_of, speaks_of_what_is_installed

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES = (".cu", ".cuh", ".cpp", ".cc", ".h", ".hpp")
_CHECK = re.compile(r"\b(?:TORCH_CHECK|AT_ASSERTM|STD_TORCH_CHECK)\s*\(")
_PARTS = re.compile(r'"((?:[^"\\\n]|\\.)*)"|([()])|,|[^"(),]+')
_LONGEST = 2000
_RAISED = "RuntimeError"


def shapes_in(source: str) -> Iterator[str]:
    """Yield the shapes of a file's checks that speak of arguments; what differs is a star."""
    for check in _CHECK.finditer(source):
        text = _text(source[check.end() : check.end() + _LONGEST])
        if text and not speaks_of_what_is_installed(text) and (shape := shape_of(_RAISED, text)):
            yield shape


def _text(arguments: str) -> str:
    """Return a check's text, a hole for each part that is no literal; "" for none.

    The condition before the first comma is no part of it.
    """
    depth, said, in_text = 1, "", False
    for part in _PARTS.finditer(arguments):
        depth += {"(": 1, ")": -1}.get(part[2] or "", 0)
        if depth == 0:
            break
        if not in_text:
            in_text = depth == 1 and part[0] == ","
        elif part[1] is not None and depth == 1:
            said += part[1]
        elif part[0].strip(" \\\n,") and not said.endswith(HOLE):
            said += HOLE
    return said
