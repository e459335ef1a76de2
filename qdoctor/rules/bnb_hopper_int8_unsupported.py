"""This bitsandbytes has no int8 product for this GPU: it is too new for the layouts it uses.

## What it finds
A bitsandbytes whose int8 product needs matrix layouts that cuBLASLt does not accept on this SM
(Hopper and newer).

## Why it hurts
`Linear8bitLt` fails at the first product with `cublasLt ran into an error!`.

## How we know
The layouts a release uses are read from its wheel; which SM accepts which from NVIDIA's
documentation, and from our own measurement on Hopper.

## Fix
Install a bitsandbytes that uses the plain layout, or 4-bit weights.

## When to ignore
If int8 is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import bnb_int8_on_this_sm
from qdoctor.model import Finding
from qdoctor.rules.affected import needing, stands_up
from qdoctor.rules.amd import on_amd
from qdoctor.rules.bnb_releases import serving
from qdoctor.rules.case import rule, suspect
from qdoctor.rules.remedies import use

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "bnb-hopper-int8-unsupported"


def find(case: Case) -> Iterator[Finding]:
    """Report a bitsandbytes whose int8 layouts this GPU does not accept."""
    suspicion = suspect(case, NAME, case.ask(bnb_int8_on_this_sm))
    if suspicion is None or on_amd(case):
        return
    bnb, sm = case.machine.bitsandbytes.value, case.machine.sm.value
    yield Finding(
        rule=NAME,
        severity="note",
        title=f"bitsandbytes {bnb or '?'} has no int8 product for SM {sm or '?'}",
        because=suspicion.because,
        fixes=_fixes(case),
        affects=needing(case, "bnb_int8_on_this_sm"),
        undecided=suspicion.undecided,
    )


def _fixes(case: Case) -> list[Fix]:
    why = "its int8 product uses the plain layout, which every GPU with int8 matrix units accepts"
    fixes = serving(case, [bnb_int8_on_this_sm], why, verify="bnb-int8")
    if stands_up(case, "bnb-nf4"):
        fixes.append(use("bnb-nf4", "4-bit weights need no int8 product", verify="bnb-nf4"))
    return fixes


RULE = rule(NAME, __doc__, find)
