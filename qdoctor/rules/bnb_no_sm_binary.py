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
from qdoctor.model import Finding, Fix
from qdoctor.rules.affected import needing
from qdoctor.rules.bnb_releases import installed_anew, serving, settled
from qdoctor.rules.case import rule, suspect
from qdoctor.rules.remedies import by_hand
from qdoctor.rules.torch_builds import offers, with_a_torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "bnb-no-sm-binary"
_OF_ROCM = "hip-device-function"


def find(case: Case) -> Iterator[Finding]:
    """Report a bitsandbytes library without kernels for the GPU that is judged."""
    suspicion = suspect(case, NAME, case.ask(bnb_binary_has_sm))
    if suspicion is None:
        return
    of_amd = _of_amd(case)
    releases = [] if of_amd else _releases(case)
    why = "for its CUDA version bitsandbytes has kernels for this GPU"
    builds = offers(settled(case), why, verify=NAME, also=[bnb_binary_has_sm])
    yield Finding(
        rule=NAME,
        severity="warning",
        title=f"bitsandbytes {case.machine.bitsandbytes.value or '?'} holds no kernels for SM "
        f"{case.machine.sm.value or '?'}",
        because=suspicion.because,
        fixes=[*releases, *([] if of_amd else builds), *_elsewhere(of_amd=of_amd)],
        affects=needing(case, "bnb_binary_has_sm"),
        undecided=suspicion.undecided,
    )


def _of_amd(case: Case) -> bool:
    gpu = case.machine.gpu
    text = any(one.signature == _OF_ROCM for one in case.signals_of(NAME))
    return text or (gpu is not None and gpu.vendor == "amd")


def _elsewhere(*, of_amd: bool) -> list[Fix]:
    """Offer what no release does: a build for this GPU; AMD's runtime can take it for another."""
    fixes = [by_hand("rebuild", "built from source for this GPU it serves it", verify=NAME)]
    if of_amd:
        why = "AMD's runtime then takes the GPU for one that the library was built for (10.3.0 ...)"
        fixes.append(Fix(action="set-env", name="HSA_OVERRIDE_GFX_VERSION", why=why, verify=NAME))
    return fixes


def _releases(case: Case) -> list[Fix]:
    """Offer a release whose library serves the GPU; for an unknown build any released wheel."""
    why = "its library holds kernels for this GPU"
    offered = serving(with_a_torch(case), [bnb_binary_has_sm], why, verify=NAME)
    if case.machine.bitsandbytes.value is not None:
        return offered
    why = "the released wheels hold kernels for every GPU that they name"
    return installed_anew(offered or serving(case, [bnb_ships_here], why, verify=NAME), NAME)


RULE = rule(NAME, __doc__, find, symptom_of=("torch-no-sm-binary",))
