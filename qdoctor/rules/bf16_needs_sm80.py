"""This GPU does not multiply bfloat16 in hardware.

## What it finds
A GPU below SM 8.0 beside a text that asks for bfloat16 or TF32.

## Why it hurts
Trainers refuse the setting (`Your setup doesn't support bf16/gpu`); where they do not, bfloat16 is
emulated and slow.

## How we know
NVIDIA's tables say which SM multiplies bfloat16.

## Fix
Use float16, and switch the bf16 and TF32 settings off.

## When to ignore
If bfloat16 is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import bf16_supported
from qdoctor.rules.affected import running
from qdoctor.rules.of_layer import of_layers
from qdoctor.rules.remedies import by_hand

if TYPE_CHECKING:
    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "bf16-needs-sm80"


def _title(case: Case) -> str:
    gpu = case.machine.gpu
    named = (gpu.name if gpu else None) or "this GPU"
    sm = case.machine.sm.value or "?"
    return f"{named} (SM {sm}) does not multiply bfloat16"


def _fixes(case: Case) -> list[Fix]:
    half = running(case, "float16 runs on this GPU: ask for fp16 instead of bf16", "half")
    return [*half, by_hand("change-code", "switch the bf16 and tf32 settings off")]


RULE = of_layers(
    NAME, __doc__, (bf16_supported,), severity="note", title=_title, fixes=_fixes, aside=True
)
