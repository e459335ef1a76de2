"""Names of triton that installed packages use, by their own files, and that triton lacks.

What was read from the installed files outranks what the matrix says of the release: a copy may be
patched, or of a release that the matrix does not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor.layers.triton_names import has_name, rule_of
from qdoctor.model import Because
from qdoctor.released import Known, has, parsed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix
    from qdoctor.model import TritonUse

TOO_OLD = "triton-too-old-for-package"
_FOREIGN = "triton-api-moved-other"


class Lack(msgspec.Struct, frozen=True):
    """A name that a package reaches without looking whether it is there, and it is not.

    ``rule`` names the problem; ``at_import``: importing the package asks for it.
    """

    package: str
    name: str
    file: str
    line: int
    rule: str
    at_import: bool

    def because(self, version: str) -> Because:
        """Say who asks for the name, and where."""
        when = "importing it" if self.at_import else "code of it"
        text = f"{when} asks for {self.name}, which triton {version} does not have"
        return Because(f"{self.package}: {text}", f"{self.file}:{self.line}", "inspected")


def lacks(machine: Machine, matrix: Matrix) -> list[Lack]:
    """List what the packages of this machine ask triton for in vain, imports first."""
    if not machine.triton.value:
        return []
    found = [one for use in _unguarded(machine) for one in _missing(machine, matrix, use)]
    return sorted(found, key=lambda one: not one.at_import)


def corrected(
    uses: Sequence[TritonUse], package: str, needed: Known[list[str]]
) -> Known[list[str]]:
    """Correct what importing a release asks triton for by the files that are installed.

    A name that none of them uses any more does not count, one that they ask for besides does.
    """
    named = {name for use in uses for name in use.names}
    asked = {name: use for use in uses if use.when == "import" for name in use.names}
    kept = [name for name in needed.value or () if name in named]
    added = [name for name in asked if name not in kept]
    if needed.value is not None and kept == needed.value and not added:
        return needed
    places = ", ".join(sorted({use.file for use in asked.values()})) or uses[0].file
    text = (
        f"the installed files of {package} ask triton for {', '.join([*kept, *added]) or 'nothing'}"
    )
    return Known([*kept, *added], Because(text, places, "inspected"))


def _unguarded(machine: Machine) -> Iterator[TritonUse]:
    return (use for use in machine.facts.triton_names or () if use.when != "guarded")


def _missing(machine: Machine, matrix: Matrix, use: TritonUse) -> Iterator[Lack]:
    for name, line in use.names.items():
        if has_name(machine, matrix, name) == "no":
            at_import = use.when == "import"
            rule = problem_of(machine, matrix, name, at_import=at_import)
            if rule is not None:
                yield Lack(use.package, name, use.file, line, rule, at_import)


def problem_of(machine: Machine, matrix: Matrix, name: str, *, at_import: bool) -> str | None:
    """Name the problem, by the releases that have the name: older ones, or only newer ones.

    One that no release has belongs to another maker's triton (MLU, Ascend): code for their devices,
    that is only in the way where importing asks for it.
    """
    own = parsed(machine.triton.value)
    having = [
        one for one in matrix.versions("triton") if has(matrix, "triton", str(one), name) == "yes"
    ]
    if own is None or any(one <= own for one in having):
        return rule_of(name, matrix)
    if having:
        return TOO_OLD
    return _FOREIGN if at_import else None
