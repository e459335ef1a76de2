"""A package requires another torch than the one installed.

## What it finds
A bitsandbytes whose own requirement excludes the installed torch.

## Why it hurts
It calls what this torch does not have yet: importing it or its first call fails.

## How we know
The requirement is read from the package's METADATA, installed or released.

## Fix
Install the release that accepts this torch, or a newer torch with everything built against it.

## When to ignore
If the package is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import bnb_accepts_torch
from qdoctor.rules.bnb_releases import serving
from qdoctor.rules.of_layer import of_layers

if TYPE_CHECKING:
    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "package-needs-newer-torch"


def _title(case: Case) -> str:
    bnb, torch = case.machine.bitsandbytes.value, case.machine.torch.value
    return f"bitsandbytes {bnb or '?'} does not accept torch {torch or '?'}"


def _fixes(case: Case) -> list[Fix]:
    return serving(case, [bnb_accepts_torch], "it accepts this torch", verify=NAME)


RULE = of_layers(
    NAME, __doc__, (bnb_accepts_torch,), severity="warning", title=_title, fixes=_fixes
)
