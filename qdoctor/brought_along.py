"""What a plan brings beside the packages that the matrix judges. Pure.

An installer takes everything that a planned release requires, and what that requires in turn. So
what is absent today need not be absent afterwards: some of it is sure to come, of some it is not
known, as the matrix holds no requirements of the package that may bring it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.released import fact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdoctor.installer import Installer
    from qdoctor.plan import Plan

_OPENED_BY_NOTHING = ("torch", "triton")
"""What these require beside each other (sympy, networkx, jinja2 ...) brings no package judged."""


def add(plan: Plan, present: Mapping[str, str], installer: Installer) -> None:
    """Name in ``plan`` what it brings along, and of what it stays open whether it does.

    ``present`` are the packages of the machine, ``""`` for those that are known to be absent.
    """
    new = {name: own for name, own in plan.packages.items() if name not in plan.kept}
    missing = [name for name, own in present.items() if not own and name not in plan.packages]
    by_whom = {
        name: [
            other
            for other in installer.names(name, version)
            if other not in plan.packages and not installer.matrix.versions(other)
        ]
        for name, version in new.items()
    }
    brought = {other for required in by_whom.values() for other in required}
    plan.brought += [name for name in missing if name in brought]
    left = [name for name in missing if name not in brought]
    if _unread(new, installer):
        plan.open += left
    elif any(by_whom[name] for name in by_whom if name not in _OPENED_BY_NOTHING):
        plan.open += [name for name in left if not installer.matrix.versions(name)]


def _unread(new: Mapping[str, str], installer: Installer) -> bool:
    """Say whether something is planned whose own requirements are not known."""
    return any(
        fact(installer.matrix, name, version, "requires_dist").value is None
        for name, version in new.items()
    )
