"""bitsandbytes' native library holds no kernels for this GPU.

## What it finds
A library whose SMs have neither the GPU's own, nor an older one of the same major, nor PTX for it.

## Why it hurts
Every bitsandbytes kernel fails with `no kernel image is available` or `named symbol not found`.

## How we know
The SMs are read from the `.nv_fatbin` section of the library, installed or released.

## Fix
Install a bitsandbytes whose library for this CUDA version covers the GPU, or a torch build for
another CUDA version whose library does.

## When to ignore
If bitsandbytes is not used on this GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import bnb_binary_has_sm, bnb_ships_here
from qdoctor.model import Finding
from qdoctor.rules.affected import needing
from qdoctor.rules.bnb_releases import installed_anew, serving, settled
from qdoctor.rules.case import rule, suspect
from qdoctor.rules.torch_builds import offers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "bnb-no-sm-binary"


def find(case: Case) -> Iterator[Finding]:
    """Report a bitsandbytes library without kernels for the GPU that is judged."""
    suspicion = suspect(case, NAME, case.ask(bnb_binary_has_sm))
    if suspicion is None:
        return
    releases = _releases(case)
    why = "for its CUDA version bitsandbytes has kernels for this GPU"
    builds = offers(settled(case), why, verify=NAME, also=[bnb_binary_has_sm])
    yield Finding(
        rule=NAME,
        severity="warning",
        title=f"bitsandbytes {case.machine.bitsandbytes.value or '?'} holds no kernels for SM "
        f"{case.machine.sm.value or '?'}",
        because=suspicion.because,
        fixes=releases + builds,
        affects=needing(case, "bnb_binary_has_sm"),
        undecided=suspicion.undecided,
    )


def _releases(case: Case) -> list[Fix]:
    """Offer a release whose library serves the GPU; for an unknown build any released wheel."""
    offered = serving(
        case, [bnb_binary_has_sm], "its library holds kernels for this GPU", verify=NAME
    )
    if case.machine.bitsandbytes.value is not None:
        return offered
    why = "the released wheels hold kernels for every GPU that they name"
    return installed_anew(offered or serving(case, [bnb_ships_here], why, verify=NAME), NAME)


RULE = rule(NAME, __doc__, find, symptom_of=("torch-no-sm-binary",))
