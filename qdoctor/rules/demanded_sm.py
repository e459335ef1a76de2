"""Whether a GPU is as new as a line demands: a program's documentation, quoted, refuses nobody.

Only a plain demand is read: a lowest SM ("compute capability 7.5 or higher", "SM >= 8.0"). A line
that names the SM found, or says that something is not supported, has been printed for this GPU.
"""

from __future__ import annotations

import re

_NUMBER = re.compile(
    r"(?:capabilit(?:y|ies)|\bSMs?|\bsm|\barch(?:itecture)?)[^\w\n]{0,4}"
    r"(?:(?:of|at least|version|is|>=)[^\w\n]{1,3}){0,2}(?:sm_?)?"
    r"(\d{1,2}[.,] ?\d|\d{2,3})(?![\w.]*\d)"
)
_LOWEST = re.compile(
    r">=|\u2265|\bat least\b|\bor (?:higher|newer|above|later|greater|better|more)\b|\+ ?(?:GPU|\))"
    r"|\b[Mm]inimum\b|\band (?:above|newer|later|up)\b"
)
_FOUND = re.compile(
    r"(?i)\b(?:current|unsupported|below|not|cannot|can't|but|found|got|has|this)\b"
)


def demand_met(line: str, sm: str | None) -> bool:
    """Say whether ``sm`` ("8.6", None: not known) is at least what a line plainly demands."""
    if sm is None or not _LOWEST.search(line) or _FOUND.search(line):
        return False
    demanded = [_parts(one) for one in _NUMBER.findall(line)]
    return bool(demanded) and all(one <= _parts(sm) for one in demanded)


def _parts(said: str) -> tuple[int, int]:
    digits = re.sub(r"\D", "", said)
    return int(digits[:-1] or 0), int(digits[-1])
