"""Which bitsandbytes release helps here: the layers are asked about each, guarded by the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor.layers import (
    bnb_accepts_torch,
    bnb_fits_libc,
    bnb_fits_python,
    bnb_has_cuda_binary,
    bnb_imports,
)
from qdoctor.model import Gpu
from qdoctor.released import parsed
from qdoctor.rules.remedies import pip
from qdoctor.rules.what_if import all_yes, offer, with_gpu, with_package

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.layers import Layer
    from qdoctor.model import Fix
    from qdoctor.rules.case import Case
    from qdoctor.rules.what_if import Condition

BNB = "bitsandbytes"
_INSTALLABLE = (bnb_accepts_torch, bnb_fits_libc, bnb_fits_python)
_GUARDS = (*_INSTALLABLE, bnb_imports, bnb_has_cuda_binary)


def importable(case: Case, why: str, *, verify: str) -> list[Fix]:
    """Offer the nearest release that can be imported here; [] for none.

    Where triton is not known it is taken to be the newest, where GPUs are not known one is taken
    to be there: such a release is then not refused for what nobody stated.
    """
    machine = case.machine
    if machine.installed("triton") == "unknown":
        newest = str(case.matrix.versions("triton")[-1])
        machine = with_package(machine, case.matrix, "triton", newest)
    if machine.gpus.value is None:
        machine = with_gpu(machine, case.matrix, Gpu(index=0, vendor="nvidia"))
    told = msgspec.structs.replace(case, machine=machine)
    return serving(told, [bnb_imports], why, verify=verify, guards=_INSTALLABLE)


def serving(  # noqa: PLR0913 - what must fit, and what must not break
    case: Case,
    wanted: Sequence[Layer],
    why: str,
    *,
    verify: str,
    guards: Sequence[Layer] = _GUARDS,
    also: Condition = lambda _: True,
) -> list[Fix]:
    """Offer the nearest release with which ``wanted`` layers say yes and no guard says no.

    Only a release that accepts the installed torch is offered: no fix may replace torch unsaid.
    """
    fits = all_yes(case, wanted, guards)
    return offer(case, BNB, lambda one: also(one) and fits(one), why, verify=verify)


def installed_anew(offered: list[Fix], verify: str) -> list[Fix]:
    """Call them installations: whatever a copy calls itself, a released wheel takes its place."""
    return [
        one
        if one.action == "reinstall"
        else pip("install", BNB, one.spec or "", one.why, verify=verify)
        for one in offered
    ]


def before_all_known(case: Case) -> bool:
    """Say whether the installed release is older than the oldest that the matrix knows."""
    version = parsed(case.machine.bitsandbytes.value)
    return version is not None and version < case.matrix.versions(BNB)[0]


def settled(case: Case) -> Case:
    """Return the case with the newest bitsandbytes, where the installed release is not known."""
    version = case.machine.bitsandbytes.value
    if version and case.matrix.matching(BNB, version):
        return case
    newest = str(case.matrix.versions(BNB)[-1])
    return msgspec.structs.replace(
        case, machine=with_package(case.machine, case.matrix, BNB, newest)
    )
