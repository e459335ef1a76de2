"""In which releases of triton a name is, and what brings them to this system."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from qdoctor.model import Because
from qdoctor.released import has, parsed, release

if TYPE_CHECKING:
    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix
    from qdoctor.rules.case import Case

WINDOWS = "triton-windows"
"""The distribution that has triton for Windows; its releases are named after triton's."""


class History(msgspec.Struct, frozen=True):
    """The known releases, ascending, and those of them that have a name."""

    name: str
    known: tuple[Version, ...]
    having: tuple[Version, ...]
    placed: bool = True
    """Whether some known release has the module inside triton that the name is in."""

    @property
    def listed(self) -> bool:
        """Whether the lists could hold it: they are of public names."""
        return not any(part.startswith("_") for part in self.name.split("."))

    @property
    def compiled(self) -> bool:
        """Whether it lies in triton's compiled part, which only triton's own files ask."""
        return self.name.startswith("triton._C.")

    @property
    def went(self) -> Version | None:
        """The first release after the last one with the name; None where the newest has it.

        For a name of none that is known, in a module of none either: the first known release, for
        there are older ones. Of other such names, and of private ones, the lists say nothing: None.
        """
        if not self.having:
            return self.known[0] if self.listed and not self.placed else None
        return next((one for one in self.known if one > self.having[-1]), None)

    def came_after(self, own: Version | None) -> Version | None:
        """Return the first release with the name that is newer than ``own``."""
        return next((one for one in self.having if own is None or one > own), None)

    @property
    def because(self) -> Because:
        """Say which releases have it, as evidence."""
        source = f"the names of triton {self.known[0]} to {self.known[-1]}, read from the wheels"
        if not self.listed:
            text = f"{self.name} is private: releases add and remove such names without notice"
            return Because(text, "an underscore begins it", "documented")
        if not self.having:
            return Because(f"no triton from {self.known[0]} on has {self.name}", source, "mined")
        until = f" to {self.having[-1]}" if self.went else " on"
        if self.went and len(self.having) == 1:
            until = " alone"
        return Because(f"{self.name} is in triton {self.having[0]}{until}", source, "mined")


def history(case: Case, name: str) -> History:
    """Return in which releases a dotted name is."""
    return _history(case.matrix, name)


def has_before(case: Case, version: Version) -> bool:
    """Say whether this system was ever served a release before ``version``."""
    if distribution(case.machine) == "triton":
        return True
    return any(Version(one.base_version) < version for one in case.matrix.versions(WINDOWS))


def distribution(machine: Machine) -> str:
    """Name the distribution that brings triton to this system."""
    return WINDOWS if machine.os.value == "windows" else "triton"


def pinned(requirement: str | None) -> Version | None:
    """Return the oldest triton that torch's requirement allows: of ``==3.6.0`` and ``~=3.8.0``.

    None where there is none.
    """
    clause = next(iter(SpecifierSet(requirement or "")), None)
    return parsed(clause.version.removesuffix(".*")) if clause else None


def of_windows(pinned_to: Version) -> str:
    """Return the releases of triton-windows for a triton: they append a number of their own."""
    return f"=={pinned_to.major}.{pinned_to.minor}.*"


def first_torch_with(matrix: Matrix, triton: Version) -> str | None:
    """Return the oldest torch that requires at least this triton."""
    for torch in matrix.versions("torch"):
        known = release(matrix, "torch", str(torch))
        pin = pinned(known.facts.get("triton_pin")) if known else None
        if pin is not None and pin >= triton:
            return str(torch)
    return None


@lru_cache(maxsize=256)
def _history(matrix: Matrix, name: str) -> History:
    known = matrix.versions("triton")
    having = tuple(one for one in known if has(matrix, "triton", str(one), name) == "yes")
    within = name.rpartition(".")[0]
    placed = "." in within and any(has(matrix, "triton", str(v), within) == "yes" for v in known)
    return History(name, known, having, placed)
