"""bitsandbytes' native library holds no kernels for this GPU.

## What it finds
A library whose SMs have neither the GPU's own, nor an older one of the same major, nor PTX for it;
on AMD's GPUs one without code for the GPU's very target (gfx906 ...).

## Why it hurts
Every bitsandbytes kernel fails with `no kernel image is available` or `named symbol not found`.

## How we know
The SMs are read from the `.nv_fatbin` section of the library, installed or released; the targets
from the offload bundles of the released libraries for ROCm.

## Fix
Install a bitsandbytes whose library for this CUDA version covers the GPU, or a torch build for
another CUDA version whose library does.

## When to ignore
If bitsandbytes is not used on this GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import (
    Answer,
    bnb_accepts_torch,
    bnb_binary_has_sm,
    bnb_fits_libc,
    bnb_fits_python,
    bnb_ships_here,
)
from qdoctor.layers.bnb_rocm import bnb_has_gfx, target_of
from qdoctor.layers.natives import libraries_of
from qdoctor.model import Finding, Fix
from qdoctor.released import called
from qdoctor.rules.affected import needing
from qdoctor.rules.amd import on_amd, taken_for_another
from qdoctor.rules.bnb_releases import BNB, installed_anew, serving, settled
from qdoctor.rules.case import rule, suspect
from qdoctor.rules.extensions import extensions_left
from qdoctor.rules.remedies import by_hand
from qdoctor.rules.torch_builds import offers, with_a_torch
from qdoctor.rules.torch_no_sm_binary import made_for_here

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "bnb-no-sm-binary"
_BUILT = "for which SMs the installed library was built was not read"


def find(case: Case) -> Iterator[Finding]:
    """Report a bitsandbytes library without kernels for the GPU that is judged."""
    suspicion = suspect(case, NAME, _has_sm(case))
    if suspicion is None or extensions_left(case) or _is_unlikely(case):
        return
    of_amd, own_build = on_amd(case), suspicion.undecided == _BUILT
    releases = _for_amd(case) if of_amd else _releases(case)
    by_others = _elsewhere(case)
    anew = by_others if own_build else []
    why = "for its CUDA version bitsandbytes has kernels for this GPU"
    builds = offers(settled(case), why, verify=NAME, also=[bnb_binary_has_sm])
    yield Finding(
        rule=NAME,
        severity="warning",
        title=f"{called(BNB, case.machine.bitsandbytes.value)} holds no kernels for {_gpu(case)}",
        because=suspicion.because,
        fixes=[*anew, *releases, *([] if of_amd else builds), *([] if anew else by_others)],
        affects=needing(case, "bnb_binary_has_sm"),
        undecided=suspicion.undecided,
    )


def _gpu(case: Case) -> str:
    target = target_of(case.machine, case.matrix) if on_amd(case) else None
    return target or f"SM {case.machine.sm.value or '?'}"


def _for_amd(case: Case) -> list[Fix]:
    """Offer the releases whose libraries for ROCm hold code for this GPU."""
    why = "its libraries for ROCm hold code for this GPU"
    guards = (bnb_accepts_torch, bnb_fits_libc, bnb_fits_python)
    return serving(case, [bnb_has_gfx], why, verify=NAME, guards=guards)


def _has_sm(case: Case) -> Answer:
    """Ask the layer; what a released wheel holds refutes no text of bitsandbytes' own source file.

    A library that was built on the machine holds what it was built for.
    """
    if on_amd(case) and (said := case.ask(bnb_has_gfx)).value != "unknown":
        return said
    answer = case.ask(bnb_binary_has_sm)
    own = case.said(NAME, "bnb_source") is not None
    if answer.value == "yes" and own and not libraries_of(case.machine, BNB):
        return Answer("unknown", _BUILT)
    return answer


def _is_unlikely(case: Case) -> bool:
    """Say whether nothing speaks of bitsandbytes, where torch was built for this very machine."""
    own = any(one.rules[0] == NAME for one in case.signals_of(NAME))
    return case.machine.bitsandbytes.value is None and not own and made_for_here(case)


def _elsewhere(case: Case) -> list[Fix]:
    """Offer what no release does: a build for this GPU; AMD's runtime can take it for another."""
    fixes = [by_hand("rebuild", "built from source for this GPU it serves it", verify=NAME)]
    if not on_amd(case):
        return fixes
    other = taken_for_another(case, NAME)  # of a known target it is known which one it can be
    known = target_of(case.machine, case.matrix) is not None
    return fixes if known and other.value is None else [*fixes, other]


def _releases(case: Case) -> list[Fix]:
    """Offer a release whose library serves the GPU; for an unknown build any released wheel."""
    why = "its library holds kernels for this GPU"
    offered = serving(with_a_torch(case), [bnb_binary_has_sm], why, verify=NAME)
    if case.machine.bitsandbytes.value is not None:
        return offered
    why = "the released wheels hold kernels for every GPU that they name"
    return installed_anew(offered or serving(case, [bnb_ships_here], why, verify=NAME), NAME)


RULE = rule(NAME, __doc__, find, symptom_of=("torch-no-sm-binary",))
