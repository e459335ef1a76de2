"""A package asks for a triton name that only newer releases of triton have.

## What it finds
Code of an installed package that uses a name which the installed triton does not have yet.

## Why it hurts
Importing the package, or compiling its kernels, fails with a missing module or attribute.

## How we know
The names that the package uses are read from its installed files, those of each triton release from
the released ones. Code that looks first (`try`, `hasattr`, a version test) is not accused.

## Fix
Install an older release of the package, or the torch that brings a new enough triton: torch
requires its own triton, so triton alone cannot change, except where torch requires none.

## When to ignore
If what asks for the name is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor.layers import driver_serves_torch, torch_fits_python, torch_has_sm
from qdoctor.layers.triton_names import has_name
from qdoctor.layers.triton_uses import TOO_OLD
from qdoctor.model import Finding
from qdoctor.released import has, parsed, release
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.of_names import missing
from qdoctor.rules.of_text import of_texts
from qdoctor.rules.packages_asking import of_packages
from qdoctor.rules.remedies import pip
from qdoctor.rules.triton_name_in_text import in_text, named
from qdoctor.rules.triton_releases import first_torch_with, pinned
from qdoctor.rules.what_if import all_yes, spans, with_package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.layers.triton_uses import Lack
    from qdoctor.model import Applicability, Fix
    from qdoctor.rules.case import Case

NAME = TOO_OLD
_OF_TEXTS = of_texts(NAME, __doc__, severity="warning")
_KEPT = (driver_serves_torch, torch_fits_python, torch_has_sm)


def find(case: Case) -> Iterator[Finding]:
    """Report packages that are newer than this triton, or a text that says so of one."""
    found = list(of_packages(case, NAME, _fixes))
    yield from found
    for one in in_text(case, NAME) if not found else ():
        torch = _newer_torch(case, [name] if (name := named(case, NAME)) else [])
        yield msgspec.structs.replace(one, fixes=[*torch, *_without(one.fixes, torch)])
    for one in missing(case, NAME, "note"):
        yield msgspec.structs.replace(one, fixes=[*one.fixes, *_with_triton(case, one)])
    yield from _release_wanted(case)
    yield from _OF_TEXTS.find(case)


def _release_wanted(case: Case) -> Iterator[Finding]:
    """Report a triton that is older than the release which a text asks for by its number.

    Where it is not known, the one that the stated torch requires counts.
    """
    own = parsed(case.machine.triton.value) or pinned(case.machine.triton_pin.value)
    for signal in case.signals_of(NAME):
        needed = parsed(signal.said.get("triton_needed"))
        if needed is None or (own is not None and own >= needed):
            continue
        torch = first_torch_with(case.matrix, needed)
        why = f"triton belongs to torch: this one requires triton {needed} or newer"
        yield Finding(
            rule=NAME,
            severity="warning",
            title=f"the program asks for triton {needed} or newer",
            because=[quoted(signal), *([read] if (read := case.machine.triton.because) else [])],
            fixes=[pip("upgrade", "torch", f">={torch}", why, verify=NAME)] if torch else [],
            undecided=None if own else "which triton is installed is not known",
        )


def _with_triton(case: Case, found: Finding) -> list[Fix]:
    """Offer the torch that brings along the triton which a finding asks for."""
    wanted = next((parsed(fix.spec.partition("=")[2]) for fix in found.fixes if fix.spec), None)
    torch = first_torch_with(case.matrix, wanted) if wanted else None
    why = f"triton belongs to torch: this one requires triton {wanted} or newer"
    unsafe: Applicability = "unsafe"
    return [
        pip("upgrade", "torch", f">={one}", why, verify=NAME, applicability=unsafe)
        for one in ([torch] if torch else [])
    ]


def _without(fixes: list[Fix], torch: list[Fix]) -> list[Fix]:
    """Leave out what changes triton or torch where the right torch is known."""
    return [fix for fix in fixes if not torch or fix.action == "downgrade"]


def _fixes(case: Case, lacking: list[Lack]) -> list[Fix]:
    package = lacking[0].package
    version = parsed((case.machine.facts.packages or {}).get(package))
    spec = f"<{version.public}" if version else ""
    why = f"an older {package} may be made for triton {case.machine.triton.value}"
    older = pip("downgrade", package, spec, why, verify=NAME, applicability="unsafe")
    names = [one.name for one in lacking]
    if case.machine.triton_pin.value == "":
        return [*_newer_triton(case, names), older]
    return [older, *_newer_torch(case, names)]


def _newer_triton(case: Case, names: list[str]) -> list[Fix]:
    """Offer the first newer triton that has the names: nothing here requires another one."""
    own = parsed(case.machine.triton.value)
    having = spans(
        case, "triton", lambda m: all(has_name(m, case.matrix, n) == "yes" for n in names)
    )
    above = [span for span in having if own and span.first > own]
    why = "torch requires no triton here, and this one has the names"
    return [pip("upgrade", "triton", above[0].spec, why, verify=NAME)] if above else []


def _newer_torch(case: Case, names: list[str]) -> list[Fix]:
    """Offer the oldest newer torch whose own triton has the names, if this machine can run it."""
    own, now = parsed(case.machine.torch.value), parsed(case.machine.triton.value)
    if own is None:
        return []
    for torch in case.matrix.versions("torch"):
        known = release(case.matrix, "torch", str(torch)) if torch > own else None
        pin = pinned(known.facts.get("triton_pin")) if known else None
        enough = all(has(case.matrix, "triton", str(pin), name) == "yes" for name in names)
        newer = pin is not None and now is not None and pin > now
        if pin and enough and newer and _runs(case, str(torch)):
            why = f"it requires triton {pin}, which is new enough"
            spec = f">={torch}"
            return [pip("upgrade", "torch", spec, why, verify=NAME, applicability="unsafe")]
    return []


def _runs(case: Case, torch: str) -> bool:
    return all_yes(case, [], _KEPT)(with_package(case.machine, case.matrix, "torch", torch))


RULE = rule(NAME, __doc__, find)
