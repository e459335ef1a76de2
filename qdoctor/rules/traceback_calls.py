"""Who called whom, as the traceback above an error text says: the installed modules by name."""

from __future__ import annotations

import re

_LOOKED_AT = 16 * 1024
"""Characters above the text: a traceback of some hundred calls."""
_BEGINS = "Traceback (most recent call last)"
_CALL = re.compile(
    r"(?:site|dist)-packages[/\\]{1,4}([A-Za-z_]\w*)[^\"\n]{0,300}?\.py(?:\"?,\s{1,8}line|:)\s?\d"
)
_LAST = re.compile(r"File \"([^\"\n]+)\", line \d+, in ")
_INSTALLED = re.compile(r"(?:site|dist)-packages[/\\]{1,4}([A-Za-z_]\w*)")


def callers(text: str, end: int) -> tuple[str, ...]:
    """Return the top-level modules of the calls that led to what ends at ``end``, last call first.

    Only calls of the last traceback before it count: what an earlier one failed for was handled.
    People also quote the exception first and its calls after it: those count where none is above.
    """
    start = max(text.rfind(_BEGINS, 0, end), end - _LOOKED_AT, 0)
    above = _CALL.findall(text, start, end)
    below = [] if above or start else _CALL.findall(text, end, _next(text, end))
    return tuple(dict.fromkeys(reversed(above or below)))


def raising(text: str, end: int) -> str:
    """Return the installed module whose own code raised what ends at ``end``; "" for none known."""
    start = max(text.rfind(_BEGINS, 0, end), end - _LOOKED_AT, 0)
    calls = _LAST.findall(text, start, end)
    found = _INSTALLED.search(calls[-1]) if calls else None
    return found[1] if found else ""


def _next(text: str, end: int) -> int:
    """Return where what follows a text ends: at another traceback, or as far as one looks."""
    begins = text.find(_BEGINS, end)
    return begins if begins >= 0 else end + _LOOKED_AT
