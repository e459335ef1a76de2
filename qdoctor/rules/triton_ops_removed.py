"""A package imports `triton.ops`, which the installed triton does not have.

## What it finds
A bitsandbytes that imports `triton.ops` when it is imported itself, beside a triton without it; or
any other installed package whose code does.

## Why it hurts
`import bitsandbytes` fails, and with it everything that uses it: 8-bit, 4-bit and the optimizers.

## How we know
What bitsandbytes imports, and which modules each triton release has, is read from the released
files; what other packages use from their installed files. Code that looks first is not accused.

## Fix
Install a bitsandbytes that imports without `triton.ops`. An older triton would help as well, but
torch requires its own.

## When to ignore
Never, if bitsandbytes is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import bnb_imports
from qdoctor.layers.triton_names import has_name
from qdoctor.model import Finding
from qdoctor.released import called
from qdoctor.rules.affected import needing
from qdoctor.rules.bnb_releases import importable
from qdoctor.rules.case import rule, suspect
from qdoctor.rules.packages_asking import with_packages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "triton-ops-removed"


def find(case: Case) -> Iterator[Finding]:
    """Report a bitsandbytes whose import needs a triton module that is gone."""
    suspicion = suspect(case, NAME, case.ask(bnb_imports))
    if suspicion is None or (suspicion.undecided and _is_there(case)):
        return
    bnb, triton = case.machine.bitsandbytes.value, case.machine.triton.value
    yield Finding(
        rule=NAME,
        severity="error",
        title=f"{called('bitsandbytes', bnb)} cannot be imported: {called('triton', triton)} "
        "has no triton.ops",
        because=suspicion.because,
        fixes=importable(case, "it imports without triton.ops", verify=NAME),
        affects=needing(case, "bnb_imports"),
        undecided=suspicion.undecided,
    )


def _is_there(case: Case) -> bool:
    """Say whether the triton that was stated still has it: then nobody misses it for this."""
    stated = bool((case.machine.facts.packages or {}).get("triton"))
    return stated and has_name(case.machine, case.matrix, "triton.ops") == "yes"


def find_all(case: Case) -> Iterator[Finding]:
    """Report bitsandbytes, and every other package whose files ask for such names."""
    yield from with_packages(find(case), case, NAME)


RULE = rule(NAME, __doc__, find_all)
