"""This bitsandbytes release lacks or breaks what is asked of it.

## What it finds
A release without the 4-bit layers that its neighbours have.

## Why it hurts
Code that names `LinearNF4` or `LinearFP4` fails with a missing attribute.

## How we know
The public names of each release are read from its wheel.

## Fix
Install the nearest release that has them.

## When to ignore
If nothing here needs what is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import bnb_has_fp4, bnb_has_nf4
from qdoctor.rules.bnb_releases import serving
from qdoctor.rules.of_layer import of_layers

if TYPE_CHECKING:
    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "bnb-version-regression"


def _title(case: Case) -> str:
    return f"bitsandbytes {case.machine.bitsandbytes.value or '?'} has no 4-bit layers"


def _fixes(case: Case) -> list[Fix]:
    return serving(case, [bnb_has_nf4, bnb_has_fp4], "it has the 4-bit layers", verify=NAME)


RULE = of_layers(
    NAME, __doc__, (bnb_has_nf4, bnb_has_fp4), severity="note", title=_title, fixes=_fixes
)
