"""The triton name that an error text says is missing, and what to do where only that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.released import release
from qdoctor.rules.remedies import by_hand

if TYPE_CHECKING:
    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

_LIBDEVICE = "extra.libdevice"
_MATH = "triton.language.math"


def named(case: Case, rule: str) -> str | None:
    """Return the dotted name that a text of ``rule`` says is missing; None where it names none."""
    for signal in case.signals_of(rule):
        said = signal.said
        if "missing" in said:
            return said["missing"]
        if "attribute" in said:
            return f"{said['within']}.{said['attribute']}"
        if "imported" in said:
            return f"{said['origin']}.{said['imported']}"
        if "name" in said:
            return f"{_MATH}.{said['name']}"
    return None


def change_code(case: Case, name: str, *, where: str = "", verify: str) -> list[Fix]:
    """Say under which name triton has a function now; that of the newest where it is not known."""
    known = [str(one) for one in case.matrix.versions("triton")]
    triton = case.machine.triton.value or known[-1]
    found = release(case.matrix, "triton", triton)
    names: list[str] = found.facts.get("names", []) if found else []
    there = _now(name, names)
    if there is None:
        return []
    why = f"in triton {triton} {name} is {there}{where}"
    return [by_hand("change-code", why, verify=verify)]


def _now(name: str, names: list[str]) -> str | None:
    """Return the name of the same function below ``triton.language``; libdevice's, if it has it."""
    last = name.rpartition(".")[2]
    inside = (one for one in names if one.startswith("triton.language.") and one != name)
    found = [one for one in inside if one.endswith(f".{last}")]
    return min(found, key=lambda one: (_LIBDEVICE not in one, len(one)), default=None)
