"""Whether a GPU is as new as a line demands: a program's documentation, quoted, refuses nobody.

Only a plain demand is read: a lowest SM ("compute capability 7.5 or higher", "SM >= 8.0"). A line
that names the SM found, or says that something is not supported, has been printed for this GPU.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.machine import Machine
    from qdoctor.rules.case import Signal

_NUMBER = re.compile(
    r"(?P<least>(?i:at least|minimum|>=|\u2265)[^\n.]{0,24}?)?"
    r"(?:capabilit(?:y|ies)|\bSMs?|\bsm|\barch(?:itecture)?)[^\w\n>\u2265]{0,4}"
    r"(?:(?:of|version|is)[^\w\n]{1,3}){0,2}(?P<lowest>(?:at least|>=|\u2265) ?)?[(]?(?:sm_?)?"
    r"(?P<sm>\d{1,2}[.,] ?\d|\d{2,3})(?![\w.]*\d)"
    r"(?P<more>\)? ?(?:\+|(?:or|and) (?:higher|newer|above|later|greater|better|more|up)\b))?"
)
"""An SM behind the word for it, and around it what makes it the lowest one."""
_FOUND = re.compile(
    r"(?i)\b(?:current|unsupported|below|not|cannot|can't|but|found|got|has|this)\b"
)


def unmet(signals: Sequence[Signal], machine: Machine) -> tuple[Signal, ...]:
    """Return the texts without those that plainly demand what the GPU of this machine has."""
    sm = machine.sm.value
    return tuple(one for one in signals if not demand_met(one.line, sm))


def demand_met(line: str, sm: str | None) -> bool:
    """Say whether ``sm`` ("8.6", None: not known) is at least what a line plainly demands."""
    if sm is None or _FOUND.search(line):
        return False
    demands = list(_NUMBER.finditer(line))
    lowest = any(one["least"] or one["lowest"] or one["more"] for one in demands)
    return lowest and all(_parts(one["sm"]) <= _parts(sm) for one in demands)


def _parts(said: str) -> tuple[int, int]:
    digits = re.sub(r"\D", "", said)
    return int(digits[:-1] or 0), int(digits[-1])
