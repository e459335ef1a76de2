"""Layers of bitsandbytes' own SwitchBack: is it there, and do its triton names exist?"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from qdoctor.layers.answer import Answer, no, unknown, yes
from qdoctor.layers.bnb_binaries import PACKAGE
from qdoctor.layers.triton_names import Asking, resolve
from qdoctor.released import fact, parsed

if TYPE_CHECKING:
    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix


def bnb_has_switchback(machine: Machine, matrix: Matrix) -> Answer:
    """Does this bitsandbytes still have SwitchBack layers?"""
    version = machine.bitsandbytes
    if not version.value:
        return unknown(version.reason or f"{PACKAGE} is not installed")
    known = fact(matrix, PACKAGE, version.value, "switchback")
    if known.value is None:
        return unknown(known.reason)
    if not known.value:
        removed = _had_before(matrix, version.value)
        rule = "bnb-triton-modules-removed" if removed else "switchback-unavailable"
        when = "any more" if removed else "yet"
        text = f"{PACKAGE} {version.value} has no SwitchBack layers {when}"
        return no(rule, text, known.because)
    return yes(f"{PACKAGE} {version.value} has SwitchBack layers", known.because)


def switchback_triton_names_resolve(machine: Machine, matrix: Matrix) -> Answer:
    """Has this triton every name that this bitsandbytes' SwitchBack kernels use?"""
    there = bnb_has_switchback(machine, matrix)
    if there.value != "yes":
        return unknown(there.reason)
    version = machine.bitsandbytes.value or ""
    used = fact(matrix, PACKAGE, version, "switchback_names_used")
    if used.value is None:
        return unknown(used.reason)
    uses = machine.facts.triton_names or ()
    who, key = f"SwitchBack of {PACKAGE} {version}", "switchback_names_used"
    asking = Asking(who, PACKAGE, version, key, uses)
    return resolve(machine.triton, machine.facts.triton_has, matrix, used, asking)


@lru_cache(maxsize=256)
def _had_before(matrix: Matrix, version: str) -> bool:
    """Say whether an older release had SwitchBack layers."""
    own = parsed(version)
    older = [one for one in matrix.versions(PACKAGE) if own is None or one < own]
    return any(fact(matrix, PACKAGE, str(one), "switchback").value for one in older)
