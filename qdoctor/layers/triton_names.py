"""Does this triton have the names that code asks for, and what is wrong where it has not?"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from qdoctor.layers.answer import Answer, no, unknown, yes
from qdoctor.model import Because
from qdoctor.released import has

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix
    from qdoctor.model import TritonUse, YesNo
    from qdoctor.released import Known


_Lacking: TypeAlias = tuple[list[str], list[str]]


class Asking(msgspec.Struct, frozen=True):
    """Who asks triton for names: a sentence's subject, and the release's fact that lists them.

    ``uses`` are the places in the installed files that ask, where they were read.
    """

    who: str
    package: str
    version: str
    fact: str
    uses: Sequence[TritonUse] = ()

    def because(self, matrix: Matrix, name: str) -> Because | None:
        """Return the place that asks for one name; None for a release the matrix does not know."""
        found = matrix.matching(self.package, self.version)
        if not found:
            return None
        return matrix.because(
            self.package, found[-1], self.fact, f"{self.who} uses {name}", symbol=name
        )


def resolve(
    version: Known[str],
    read: Mapping[str, bool] | None,
    matrix: Matrix,
    needed: Known[list[str]],
    asking: Asking,
) -> Answer:
    """Look every name of ``needed`` up in the installed triton; ``asking`` says who needs them.

    ``read`` are the names that its own files have or not, of a release that nobody knows.
    """
    who = asking.who
    if not version.value:
        return unknown(version.reason or "triton is not installed")
    missing, open_ones = _lacking(version.value, read, matrix, tuple(needed.value or ()))
    if missing:
        text = f"{who} asks for {_short(missing)}, which triton {version.value} does not have"
        because = _place(asking, missing[0]) or asking.because(matrix, missing[0])
        return no(rule_of(missing[0], matrix), text, because, _listing(matrix, version.value))
    if open_ones:
        return unknown(f"whether triton {version.value} has {_short(open_ones)} is not known")
    text = f"triton {version.value} has every name that {who} asks for"
    return yes(text, needed.because, _listing(matrix, version.value))


def _lacking(
    version: str, read: Mapping[str, bool] | None, matrix: Matrix, names: tuple[str, ...]
) -> _Lacking:
    """Return the names that are not there, and those of which that is not known."""
    if matrix.matching("triton", version):
        return _lacking_in(matrix, version, names)
    return _sorted_out({name: _as_read(read, name) for name in names})


@lru_cache(maxsize=2048)
def _lacking_in(matrix: Matrix, version: str, names: tuple[str, ...]) -> _Lacking:
    return _sorted_out({name: has(matrix, "triton", version, name) for name in names})


def _sorted_out(answers: dict[str, YesNo]) -> _Lacking:
    missing = [name for name, answer in answers.items() if answer == "no"]
    return missing, [name for name, answer in answers.items() if answer == "unknown"]


def has_name(machine: Machine, matrix: Matrix, name: str) -> YesNo:
    """Say whether the installed triton has a name: by its release, else by its own files."""
    version = machine.triton.value or ""
    if matrix.matching("triton", version):
        return has(matrix, "triton", version, name)
    return _as_read(machine.facts.triton_has, name)


def _as_read(read: Mapping[str, bool] | None, name: str) -> YesNo:
    found = (read or {}).get(name)
    return "unknown" if found is None else "yes" if found else "no"


def rule_of(name: str, matrix: Matrix) -> str | None:
    """Return the problem that code asking for a missing triton name has."""
    for row in matrix.table("triton_names")["rows"]:
        if name == row["prefix"] or name.startswith(row["prefix"] + "."):
            rule: str = row["rule"]
            return rule
    return None


def _place(asking: Asking, name: str) -> Because | None:
    """Return the place in the installed files that asks for a name; None where none was read."""
    for use in asking.uses:
        if use.package == asking.package and name in use.names:
            text = f"{asking.who} uses {name}"
            return Because(text, f"{use.file}:{use.names[name]}", "inspected")
    return None


def _listing(matrix: Matrix, version: str) -> Because:
    if not matrix.matching("triton", version):
        return Because(
            f"the names of triton {version}", "the installed triton's files", "inspected"
        )
    return matrix.because("triton", version, "names", f"the names of triton {version}")


def _short(names: list[str]) -> str:
    shown = ", ".join(names[:2])
    return shown if len(names) <= 2 else f"{shown} and {len(names) - 2} more"  # noqa: PLR2004
