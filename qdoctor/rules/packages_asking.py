"""Findings about packages whose code asks triton for names that it does not have.

Every package but bitsandbytes, whose releases the matrix knows: its own rules ask more of it.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from qdoctor.layers.bnb_binaries import PACKAGE as BNB
from qdoctor.layers.triton_uses import Lack, lacks
from qdoctor.model import Finding
from qdoctor.released import parsed
from qdoctor.rules.case import accused
from qdoctor.rules.remedies import pip
from qdoctor.rules.stale_package_shadowing import NAME as SHADOWING
from qdoctor.rules.stale_package_shadowing import shadowing
from qdoctor.rules.triton_name_in_text import change_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

_SHOWN = 3


def of_packages(
    case: Case, rule: str, fixes: Callable[[Case, list[Lack]], list[Fix]]
) -> Iterator[Finding]:
    """Report each package that lacks a name for ``rule``: an error where it cannot be imported."""
    version = case.machine.triton.value or "?"
    own = [one for one in lacks(case.machine, case.matrix) if one.rule == rule]
    named = sorted((one for one in own if one.package != BNB), key=lambda one: one.package)
    told = accused(case, rule, "")
    for package, found in groupby(named, key=lambda one: one.package):
        lacking = sorted(found, key=lambda one: not one.at_import)
        broken = lacking[0].at_import
        yield Finding(
            rule=rule,
            severity="error" if broken else "note",
            title=_title(package, version, lacking, broken=broken),
            because=[
                *(one.because(version) for one in lacking[:_SHOWN]),
                *(told.because if told else ()),
            ],
            fixes=fixes(case, lacking),
        )


def with_packages(found: Iterable[Finding], case: Case, rule: str) -> Iterator[Finding]:
    """Give findings about bitsandbytes and about other packages.

    Where another package surely asks for a name, a text alone does not accuse bitsandbytes.
    """
    others = list(of_packages(case, rule, moved))
    cause = SHADOWING if shadowing(case, BNB) else None
    for one in found:
        if one.undecided is None or not others:
            yield msgspec.structs.replace(one, symptom_of=cause)
    yield from others


def moved(case: Case, lacking: list[Lack]) -> list[Fix]:
    """Offer a newer release of the package: triton stays, for torch requires it."""
    package, rule = lacking[0].package, lacking[0].rule
    return [*_newer(case, package, rule), *_elsewhere(case, lacking)]


def _newer(case: Case, package: str, rule: str) -> list[Fix]:
    version = parsed((case.machine.facts.packages or {}).get(package))
    triton, torch = case.machine.triton.value, case.machine.torch.value
    stays = f", which torch {torch} requires" if torch and case.machine.triton_pin.value else ""
    why = f"a newer {package} may be made for triton {triton}{stays}"
    spec = f">{version.public}" if version else ""
    return [pip("upgrade", package, spec, why, verify=rule, applicability="unsafe")]


def _elsewhere(case: Case, lacking: list[Lack]) -> list[Fix]:
    """Say under which name the installed triton has a function, for whoever changes the code."""
    for lack in lacking:
        where = f" ({lack.file}:{lack.line} asks for it)"
        if fixes := change_code(case, lack.name, where=where, verify=lack.rule):
            return fixes
    return []


def _title(package: str, triton: str, lacking: list[Lack], *, broken: bool) -> str:
    name = lacking[0].name
    if broken:
        return f"{package} cannot be imported: triton {triton} has no {name}"
    return f"code of {package} asks for {name}, which triton {triton} does not have"
