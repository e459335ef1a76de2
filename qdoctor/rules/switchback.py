"""What to do where bitsandbytes' own SwitchBack does not work, by what works on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import switchback_triton_names_resolve
from qdoctor.released import release
from qdoctor.rules.affected import stands_up
from qdoctor.rules.remedies import listed, pip, use
from qdoctor.rules.what_if import all_yes, spans

if TYPE_CHECKING:
    from qdoctor.model import Fix
    from qdoctor.rules.case import Case
    from qdoctor.rules.what_if import Span

_CHOICES = {
    "bnb-int8": "Linear8bitLt is bitsandbytes' maintained int8 layer and needs no triton",
    "qdoctor-switchback": "qdoctor's SwitchBack does the same and runs on current triton",
    "bnb-nf4": "4-bit weights need no int8 matrix units and no triton",
}


def instead(case: Case) -> list[Fix]:
    """Offer the backends that nothing known speaks against here, the closest relative first."""
    return [
        use(backend, why, verify=backend)
        for backend, why in _CHOICES.items()
        if stands_up(case, backend)
    ]


def working_triton(case: Case, *, verify: str) -> list[Fix]:
    """Name the triton releases that the installed SwitchBack works with, and their torch releases.

    Nothing is offered for a bitsandbytes that is not known: releases differ.
    """
    found = spans(case, "triton", all_yes(case, [switchback_triton_names_resolve]))
    torches = _torches(case, found)
    if not found or not torches:
        return []
    tritons = listed([str(span) for span in found])
    why = (
        f"the SwitchBack of bitsandbytes {case.machine.bitsandbytes.value} works with triton "
        f"{tritons} only, which torch {listed(torches)} requires; triton alone cannot be changed"
    )
    spec = f"=={torches[-1]}"
    return [pip("downgrade", "torch", spec, why, verify=verify, applicability="unsafe")]


def _torches(case: Case, found: list[Span]) -> list[str]:
    """Return the torch releases that require one of these tritons, ascending."""
    return [
        str(torch)
        for torch in case.matrix.versions("torch")
        if any(_requires(case, str(torch), span) for span in found)
    ]


def _requires(case: Case, torch: str, span: Span) -> bool:
    known = release(case.matrix, "torch", torch)
    pin = known.facts.get("triton_pin", "") if known else ""
    return any(pin == f"=={one}" for one in case.matrix.versions("triton") if span.holds(one))
