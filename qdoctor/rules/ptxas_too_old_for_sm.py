"""The ptxas that comes with triton does not know this GPU.

## What it finds
A triton whose ptxas cannot compile for the GPU's SM.

## Why it hurts
Every Triton kernel fails with `Value 'sm_...' is not defined for option 'gpu-name'`.

## How we know
The ptxas release that a triton wheel carries is read from the wheel; which SMs a ptxas knows from
NVIDIA's documentation.

## Fix
Name a newer ptxas of a CUDA toolkit in TRITON_PTXAS_PATH, or install a torch that brings a newer
triton along.

## When to ignore
If nothing here uses Triton or `torch.compile`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import triton_int8_on_sm, triton_knows_sm
from qdoctor.model import Fix
from qdoctor.rules.affected import running
from qdoctor.rules.of_layer import of_layers

if TYPE_CHECKING:
    from qdoctor.rules.case import Case

NAME = "ptxas-too-old-for-sm"


def _title(case: Case) -> str:
    gpu = case.machine.gpu
    named = (gpu.name if gpu else None) or "this GPU"
    sm = case.machine.sm.value or "?"
    return f"{named} (SM {sm}) is unknown to the ptxas that triton brings along"


def _fixes(case: Case) -> list[Fix]:
    own = Fix(
        action="set-env",
        name="TRITON_PTXAS_PATH",
        why="it names the ptxas of a CUDA toolkit that knows this GPU",
        verify="triton_libdevice",
    )
    return [own, *running(case, "it needs no Triton kernel", "bnb-nf4", "half")]


RULE = of_layers(
    NAME, __doc__, (triton_knows_sm, triton_int8_on_sm), severity="note", title=_title, fixes=_fixes
)
