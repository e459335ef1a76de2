"""Layers of torchao's int8 dynamic quantization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor import released
from qdoctor.layers.answer import Answer, no, unknown, yes
from qdoctor.layers.torch import installed
from qdoctor.released import fact, fits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix
    from qdoctor.released import Known

PACKAGE = "torchao"
_TABLE = "torchao_int8"


def torchao_installed(machine: Machine, matrix: Matrix) -> Answer:  # noqa: ARG001
    """Is torchao installed?"""
    return installed(machine, PACKAGE, None)


def torchao_has_int8(machine: Machine, matrix: Matrix) -> Answer:
    """Does this torchao offer int8 dynamic quantization, under any name it has had?"""
    names = [row["name"] for row in matrix.table(_TABLE)["names"]]
    return offered(machine, matrix, names, "int8 dynamic quantization")


def offered(machine: Machine, matrix: Matrix, names: Sequence[str], what: str) -> Answer:
    """Say whether this torchao has one of some dotted names, among those that are read of it."""
    version = machine.package(PACKAGE)
    if not version.value:
        return unknown(version.reason or f"{PACKAGE} is not installed")
    complete = True
    last: Known[Any] | None = None
    for key in dict.fromkeys(map(_listing, names)):
        last = fact(matrix, PACKAGE, version.value, key)
        if last.value is None:
            return unknown(last.reason)
        found = next((name for name in names if name in last.value), None)
        if found is not None:
            return yes(f"{PACKAGE} {version.value} has {found}", last.because)
        complete &= bool(fact(matrix, PACKAGE, version.value, f"{key}_complete").value)
    text = f"{PACKAGE} {version.value} has no {what} under a known name"
    return no(None, text, last.because if last else None) if complete else unknown(text)


def _listing(name: str) -> str:
    """Name the fact in which a dotted name would be listed."""
    return "prototype_names" if ".prototype." in name else "quantization_names"


def torchao_fits_torch(machine: Machine, matrix: Matrix) -> Answer:
    """Does this torchao's int8 path work with this torch: as it requires, and as was seen?"""
    table = matrix.table(_TABLE)
    told = tried(machine, matrix, table, table["rows"]) or by_requirement(machine, matrix)
    who = f"{PACKAGE} {machine.package(PACKAGE).value}"
    return told or unknown(f"{who} does not say which torch it needs")


def tried(
    machine: Machine, matrix: Matrix, table: dict[str, Any], rows: Sequence[dict[str, Any]]
) -> Answer | None:
    """Answer for torchao with this torch: no if it requires another, else by the rows tried.

    None where no row of the table is about this pair.
    """
    version, torch = machine.package(PACKAGE), machine.torch
    if not version.value or not torch.value:
        known = version if not version.value else torch
        return unknown(known.reason or f"{PACKAGE} or torch is not installed")
    pinned = by_requirement(machine, matrix)
    if pinned is not None and pinned.value == "no":
        return pinned
    for row in rows:
        inside = (
            fits(matrix, PACKAGE, version.value, row["spec"]),
            fits(matrix, "torch", torch.value, row["torch"]),
        )
        if inside == (True, True):
            text = row["text"].format(torchao=version.value, torch=torch.value)
            because = released.cited(table, row, text)
            return yes(text, because) if row["runs"] else no(None, text, because)
    return None


def torchao_int8_on_sm(machine: Machine, matrix: Matrix) -> Answer:
    """Was torchao's int8 path seen to run on a GPU of this SM? Unknown elsewhere."""
    sm = machine.sm
    if sm.value is None:
        return unknown(sm.reason)
    table = matrix.table(_TABLE)
    row = table["gpus"].get(sm.value)
    if row is None:
        return unknown(f"whether {PACKAGE}'s int8 path runs on SM {sm.value} is not known")
    text = f"{PACKAGE}'s int8 path runs on SM {sm.value}"
    return yes(text, released.cited(table, row, text))


def torchao_int8_any_size(machine: Machine, matrix: Matrix) -> Answer:
    """Does this torchao multiply in int8 on a GPU whatever the sizes, one row or odd depths?"""
    version = machine.package(PACKAGE)
    if not version.value:
        return unknown(version.reason or f"{PACKAGE} is not installed")
    table = matrix.table(_TABLE)
    row = released.row_for(matrix, table["awkward"], PACKAGE, version.value)
    if row is None:
        return unknown(f"what {PACKAGE} {version.value} does with awkward sizes is not known")
    text = f"{PACKAGE} {version.value} {row['awkward']}"
    return no("silent-slow-path", text, released.cited(table, row, text))


def by_requirement(machine: Machine, matrix: Matrix) -> Answer | None:
    """Compare torch with this torchao's own requirement; None where it states no versions."""
    version, torch = machine.package(PACKAGE).value or "", machine.torch.value or ""
    stated = fact(matrix, PACKAGE, version, "requires_dist")
    for line in stated.value or ():
        requirement = released.requirement(line)
        if requirement is None or requirement.name != "torch" or requirement.marker:
            continue
        if not requirement.specifier:
            continue
        text = f"{PACKAGE} {version} requires {requirement}, torch is {torch}"
        inside = fits(matrix, "torch", torch, str(requirement.specifier))
        if inside is not None:
            return yes(text, stated.because) if inside else no(None, text, stated.because)
    return None
