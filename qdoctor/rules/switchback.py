"""What to do where bitsandbytes' own SwitchBack does not work, by what works on this machine."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
from packaging.specifiers import SpecifierSet

from qdoctor.layers import (
    driver_serves_torch,
    gpu_present,
    int8_tensor_cores,
    switchback_triton_names_resolve,
    torch_fits_python,
    torch_has_sm,
    triton_fits_python,
)
from qdoctor.machine import complete
from qdoctor.model import Facts
from qdoctor.released import release
from qdoctor.rules.affected import stands_up
from qdoctor.rules.bnb_releases import BNB
from qdoctor.rules.case import Case
from qdoctor.rules.remedies import listed, pip, use
from qdoctor.rules.what_if import all_yes, spans, with_package

if TYPE_CHECKING:
    from qdoctor.matrix import Matrix
    from qdoctor.model import Because, Fix
    from qdoctor.rules.what_if import Span

_INSTALLING = (torch_fits_python, triton_fits_python)
_LAYERS = (*_INSTALLING, driver_serves_torch, torch_has_sm, int8_tensor_cores)
"""What an older torch must not fail for: otherwise going back to it helps nobody. Where there is no
GPU it can only be meant for another machine, so that it can be installed has to do."""
_CHOICES = {
    "bnb-int8": "Linear8bitLt is bitsandbytes' maintained int8 layer and needs no triton",
    "qdoctor-switchback": "qdoctor's SwitchBack does the same with current releases",
    "bnb-nf4": "4-bit weights need no int8 matrix units and no triton",
}


def instead(case: Case) -> list[Fix]:
    """Offer the backends that nothing known speaks against here, the closest relative first."""
    return [
        use(backend, why, verify=backend)
        for backend, why in _CHOICES.items()
        if stands_up(case, backend)
    ]


class Working(msgspec.Struct, frozen=True):
    """The triton releases that a SwitchBack works with, and the torches that require them."""

    tritons: list[Span]
    torches: list[str]
    because: Because


def working(case: Case) -> Working | None:
    """Work out what the installed SwitchBack works with; None for one that is not known."""
    version = case.machine.bitsandbytes.value
    found, torches = _known(case.matrix, version) if version else ((), ())
    if not version or not torches:
        return None
    tritons = listed([str(span) for span in found])
    text = (
        f"the SwitchBack of bitsandbytes {version} works with triton {tritons} only, which is "
        f"required by torch {listed(torches)}"
    )
    return Working(
        list(found), list(torches), case.matrix.because(BNB, version, "switchback_names_used", text)
    )


@lru_cache(maxsize=128)
def _known(matrix: Matrix, version: str) -> tuple[tuple[Span, ...], tuple[str, ...]]:
    """Return the tritons and torches for one release: nothing else of a machine matters to them."""
    bare = Case(complete(Facts(packages={BNB: version}), matrix), (), matrix)
    found = spans(bare, "triton", all_yes(bare, [switchback_triton_names_resolve]))
    return tuple(found), tuple(_torches(bare, found))


def older_torch(case: Case, known: Working | None, *, verify: str) -> list[Fix]:
    """Offer the torch that brings a working triton along, unless that fails here too."""
    if known is None:
        return []
    torch, triton = known.torches[-1], str(known.tritons[-1].last)
    machine = with_package(case.machine, case.matrix, "torch", torch)
    machine = with_package(machine, case.matrix, "triton", triton)
    elsewhere = case.ask(gpu_present).value == "no"
    if not all_yes(case, [], _INSTALLING if elsewhere else _LAYERS)(machine):
        return []
    why = f"it requires triton {triton}, which SwitchBack works with; triton alone cannot change"
    return [pip("downgrade", "torch", f"=={torch}", why, verify=verify, applicability="unsafe")]


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
    having = [one for one in case.matrix.versions("triton") if span.holds(one)]
    return bool(pin) and any(one in SpecifierSet(pin) for one in having)
