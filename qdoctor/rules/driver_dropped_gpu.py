"""The installed driver no longer supports this GPU.

## What it finds
A driver branch newer than the last one that supports the GPU's architecture.

## Why it hurts
The driver does not start the GPU: tools list none, and torch sees none.

## How we know
NVIDIA names the last driver branch of each architecture that it dropped.

## Fix
Install the last branch that supports the GPU, and a torch build for a CUDA version it serves.

## When to ignore
If another GPU of the machine is the one that is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import driver_knows_gpu
from qdoctor.model import Finding, Fix
from qdoctor.rules.affected import needing
from qdoctor.rules.case import rule, suspect
from qdoctor.rules.remedies import by_hand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "driver-dropped-gpu"


def find(case: Case) -> Iterator[Finding]:
    """Report a driver that is newer than the last one for the GPU that is judged."""
    suspicion = suspect(case, NAME, case.ask(driver_knows_gpu))
    if suspicion is None:
        return
    driver, sm = case.machine.driver_version.value or "", case.machine.sm.value or "?"
    yield Finding(
        rule=NAME,
        severity="error",
        title=f"the driver {driver} no longer supports this GPU (SM {sm})".replace("  ", " "),
        because=suspicion.because,
        fixes=[_last_driver(case, sm)],
        affects=["gpu", *needing(case, "driver_knows_gpu")],
        undecided=suspicion.undecided,
    )


def _last_driver(case: Case, sm: str) -> Fix:
    row = case.matrix.table("drivers")["last_branch"].get(sm)
    spec = f"<{int(row['branch']) + 1}" if row else None
    why = (
        f"branch {row['branch']} is the last one for this GPU" if row else "an older branch has it"
    )
    return by_hand("downgrade", why, spec=spec, verify=NAME)


RULE = rule(NAME, __doc__, find)
