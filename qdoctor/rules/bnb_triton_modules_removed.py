"""This bitsandbytes no longer has SwitchBack layers.

## What it finds
A bitsandbytes release without `bitsandbytes.nn.triton_based_modules`.

## Why it hurts
Code and guides that name `SwitchBackLinear` fail with a missing module or attribute.

## How we know
The modules of each release are read from its wheel.

## Fix
Use `Linear8bitLt`, or qdoctor's SwitchBack, which runs on current triton. Going back to a release
that still has the layers helps only with a triton that their kernels work with.

## When to ignore
If nothing here uses SwitchBack layers: this is so in every current release, and harms nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import bnb_has_switchback
from qdoctor.model import Finding
from qdoctor.released import called
from qdoctor.rules.case import rule, suspect
from qdoctor.rules.switchback import instead

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "bnb-triton-modules-removed"


def find(case: Case) -> Iterator[Finding]:
    """Report a bitsandbytes without SwitchBack."""
    suspicion = suspect(case, NAME, case.ask(bnb_has_switchback))
    if suspicion is None:
        return
    yield Finding(
        rule=NAME,
        severity="note",
        title=f"{called('bitsandbytes', case.machine.bitsandbytes.value)} has no SwitchBack layers",
        because=suspicion.because,
        fixes=instead(case),
        affects=["bnb-switchback"],
        undecided=suspicion.undecided,
    )


RULE = rule(NAME, __doc__, find)
