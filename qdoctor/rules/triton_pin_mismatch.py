"""The installed triton is not the one that torch requires.

## What it finds
A triton outside of torch's own requirement, which names exactly one release.

## Why it hurts
torch's compiler calls triton's internals, which move with every release: `torch.compile` fails
with missing names (`triton_key`, `AttrsDescriptor`, `launch_enter_hook`). Eager code keeps working.

## How we know
The requirement is read from torch's METADATA, installed or released.

## Fix
Install the triton that this torch requires. To get another triton, change torch: each torch release
requires its own.

## When to ignore
If nothing here uses `torch.compile`, and another package needs just this triton.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import triton_matches_pin
from qdoctor.model import Finding
from qdoctor.released import release
from qdoctor.rules.case import rule, suspect
from qdoctor.rules.remedies import pip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "triton-pin-mismatch"


def find(case: Case) -> Iterator[Finding]:
    """Report a triton that torch's own requirement excludes."""
    suspicion = suspect(case, NAME, case.ask(triton_matches_pin))
    if suspicion is None:
        return
    torch, triton = case.machine.torch.value, case.machine.triton.value
    yield Finding(
        rule=NAME,
        severity="warning",
        title=f"triton {triton or '?'} is not the one that torch {torch or '?'} requires",
        because=suspicion.because,
        fixes=_fixes(case),
        affects=["torch.compile"],
        undecided=suspicion.undecided,
    )


def _fixes(case: Case) -> list[Fix]:
    pin = case.machine.triton_pin.value or _pin_in_text(case)
    if pin:
        why = f"torch {case.machine.torch.value or ''} requires triton{pin}".replace("  ", " ")
        return [pip("install-matching", "triton", pin, why, verify=NAME)]
    return _matching_torch(case)


def _pin_in_text(case: Case) -> str | None:
    said = case.said(NAME, "pin")
    return f"=={said}" if said else None


def _matching_torch(case: Case) -> list[Fix]:
    """Without a known torch: name the torch releases that require the installed triton."""
    triton = case.machine.triton.value
    pins = [str(one) for one in case.matrix.versions("torch") if _pins(case, str(one), triton)]
    if not pins:
        return []
    spec = f"=={pins[0]}" if len(pins) == 1 else f">={pins[0]},<={pins[-1]}"
    why = f"these releases of torch require triton {triton}"
    return [pip("install-matching", "torch", spec, why, verify=NAME, applicability="unsafe")]


def _pins(case: Case, torch: str, triton: str | None) -> bool:
    found = release(case.matrix, "torch", torch)
    return bool(triton and found and found.facts.get("triton_pin") == f"=={triton}")


RULE = rule(NAME, __doc__, find)
