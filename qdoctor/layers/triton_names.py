"""Does this triton have the names that code asks for, and what is wrong where it has not?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers.answer import Answer, no, unknown, yes
from qdoctor.released import has

if TYPE_CHECKING:
    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix
    from qdoctor.model import Because
    from qdoctor.released import Known


def resolve(machine: Machine, matrix: Matrix, needed: Known[list[str]], who: str) -> Answer:
    """Look every name of ``needed`` up in the installed triton; ``who`` asks for them."""
    version = machine.triton
    if not version.value:
        return unknown(version.reason or "triton is not installed")
    answers = {name: has(matrix, "triton", version.value, name) for name in needed.value or ()}
    missing = [name for name, answer in answers.items() if answer == "no"]
    if missing:
        text = f"{who} asks for {_short(missing)}, which triton {version.value} does not have"
        return no(
            rule_of(missing[0], matrix), text, needed.because, _listing(matrix, version.value)
        )
    open_ones = [name for name, answer in answers.items() if answer == "unknown"]
    if open_ones:
        return unknown(f"whether triton {version.value} has {_short(open_ones)} is not known")
    text = f"triton {version.value} has every name that {who} asks for"
    return yes(text, needed.because, _listing(matrix, version.value))


def rule_of(name: str, matrix: Matrix) -> str | None:
    """Return the problem that code asking for a missing triton name has."""
    for row in matrix.table("triton_names")["rows"]:
        if name == row["prefix"] or name.startswith(row["prefix"] + "."):
            rule: str = row["rule"]
            return rule
    return None


def _listing(matrix: Matrix, version: str) -> Because:
    return matrix.because("triton", version, "names", f"the names of triton {version}")


def _short(names: list[str]) -> str:
    shown = ", ".join(names[:2])
    return shown if len(names) <= 2 else f"{shown} and {len(names) - 2} more"  # noqa: PLR2004
