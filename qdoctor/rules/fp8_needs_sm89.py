"""This GPU has no fp8 matrix units.

## What it finds
A GPU below SM 8.9, or a torch that does not multiply fp8 on it.

## Why it hurts
fp8 products fail (`type fp8e4nv not supported in this architecture`), in torch and in Triton.

## How we know
NVIDIA's tables say which SM multiplies fp8; on which GPUs a torch release does is in the data.

## Fix
Use int8, 4-bit weights or half precision.

## When to ignore
If fp8 is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import fp8_supported, fp8_tensor_cores, torch_fp8_on_cpu
from qdoctor.rules.affected import running
from qdoctor.rules.of_layer import of_layers

if TYPE_CHECKING:
    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "fp8-needs-sm89"


def _title(case: Case) -> str:
    gpu = case.machine.gpu
    named = (gpu.name if gpu else None) or "this GPU"
    sm = case.machine.sm.value or "?"
    return f"{named} (SM {sm}) has no fp8 product"


def _fixes(case: Case) -> list[Fix]:
    return running(case, "it needs no fp8 product", "bnb-int8", "bnb-nf4", "half")


RULE = of_layers(
    NAME,
    __doc__,
    (fp8_tensor_cores, fp8_supported, torch_fp8_on_cpu),
    severity="note",
    title=_title,
    fixes=_fixes,
    aside=True,
)
