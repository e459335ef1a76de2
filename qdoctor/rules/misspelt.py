"""Names that no release has, and that are another name but for a slip of the hand.

A doubled, a missing or two swapped letters, or another case: such a name is nobody's new one. One
that differs in a digit or only at its end may be.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qdoctor.rules import hub_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qdoctor.rules.case import Case, Signal

_LONG = 7
"""Letters below which two names may be alike by chance."""
_DOUBLED = re.compile(r"([a-z])\1+")


def meant(case: Case, signal: Signal) -> str | None:
    """Return the name of a package that a text misspells; None where it does not, or is known."""
    if hub_names.knows(case, signal):
        return None
    owner, name = hub_names.missed(signal)
    return nearest(name, hub_names.importable(case, owner))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that ``name`` is but for a slip; None where no single one is."""
    if len(name) < _LONG:
        return None
    found = {one for one in known if one != name and _slipped(name, one)}
    return found.pop() if len(found) == 1 else None


def _slipped(name: str, known: str) -> bool:
    own, other = name.replace("_", "").lower(), known.replace("_", "").lower()
    if _DOUBLED.sub(r"\1", own) == _DOUBLED.sub(r"\1", other):
        return True
    if len(own) == len(other):
        return _swapped(own, other)
    short, long = sorted((own, other), key=len)
    return len(long) - len(short) == 1 and _one_left_out(short, long)


def _swapped(own: str, other: str) -> bool:
    """Say whether two neighbouring letters changed places."""
    places = [at for at, (a, b) in enumerate(zip(own, other, strict=True)) if a != b]
    if len(places) != 2 or places[1] != places[0] + 1:  # noqa: PLR2004 - a pair
        return False
    pair = own[places[0]], own[places[1]]
    return pair == (other[places[1]], other[places[0]]) and "".join(pair).isalpha()


def _one_left_out(short: str, long: str) -> bool:
    """Say whether one letter, not the last, is left out."""
    at = next((at for at, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), None)
    return at is not None and long[at].isalpha() and short[at:] == long[at + 1 :]
