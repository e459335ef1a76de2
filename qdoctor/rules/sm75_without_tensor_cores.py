"""A GTX 16 card: its SM promises matrix units that it does not have.

## What it finds
A GPU of the GTX 16 series or its kin: SM 7.5 without tensor cores.

## Why it hurts
Libraries choose by SM, so int8 and half-precision kernels meant for matrix units fail or crawl.

## How we know
NVIDIA's product data name the cards of SM 7.5 that have no tensor cores.

## Fix
Use 4-bit weights or half precision.

## When to ignore
If int8 is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import bnb_int8_on_this_sm, int8_tensor_cores
from qdoctor.rules.affected import running
from qdoctor.rules.of_layer import of_layers

if TYPE_CHECKING:
    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "sm75-without-tensor-cores"


def _title(case: Case) -> str:
    gpu = case.machine.gpu
    named = (gpu.name if gpu else None) or "this GPU"
    sm = case.machine.sm.value or "?"
    return f"{named} (SM {sm}) has no tensor cores, although its SM promises them"


def _fixes(case: Case) -> list[Fix]:
    return running(case, "it needs no int8 matrix units", "bnb-nf4", "half")


RULE = of_layers(
    NAME,
    __doc__,
    (int8_tensor_cores, bnb_int8_on_this_sm),
    severity="note",
    title=_title,
    fixes=_fixes,
)
