"""The order of a finding's fixes: its rule's own first, then what changes least."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qdoctor.model import Fix

BEYOND = frozenset({"change-hardware", "upgrade-driver", "upgrade-os"})
"""Actions that change the machine rather than this environment."""


def smallest_first(fixes: Iterable[Fix]) -> list[Fix]:
    """Order what follows the first fix: safe before unsafe, other machines and drivers last.

    The first one stays: its rule knows which change is the cure and which a way around. Within a
    class the rule's order stays likewise. What changes the same as an earlier one is left out.
    """
    offered = _once(fixes)
    return [*offered[:1], *sorted(offered[1:], key=_size)]


def _once(fixes: Iterable[Fix]) -> list[Fix]:
    kept: dict[tuple[object, ...], Fix] = {}
    for number, fix in enumerate(fixes):
        told = (fix.action, fix.package, fix.spec, fix.index, fix.command)
        kept.setdefault(told if fix.command else (number,), fix)
    return list(kept.values())


def _size(fix: Fix) -> int:
    if fix.action in BEYOND:
        return 2
    return int(fix.applicability == "unsafe")
