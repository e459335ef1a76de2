"""bitsandbytes ships no CUDA library for this platform.

## What it finds
A bitsandbytes whose wheel holds no CUDA library for this operating system and machine; and on an
integrated GPU (Jetson) one that holds no code for its very SM: those wheels are for ARM servers.

## Why it hurts
It loads a CPU library, one of another platform, or none: quantized layers fail or run on the CPU.

## How we know
The libraries in each released wheel are listed by platform.

## Fix
Install a release that has one for this platform, build it from source, or use another machine.

## When to ignore
If bitsandbytes is used on the CPU only, in a release that can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import bnb_binary_has_sm, bnb_has_cuda_binary
from qdoctor.rules.bnb_releases import serving
from qdoctor.rules.of_layer import of_layers
from qdoctor.rules.remedies import by_hand

if TYPE_CHECKING:
    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "bnb-platform-unsupported"


def _title(case: Case) -> str:
    bnb, system = case.machine.bitsandbytes.value, case.machine.os.value
    return f"bitsandbytes {bnb or '?'} ships no CUDA library for {system or 'this system'}"


def _fixes(case: Case) -> list[Fix]:
    why = "it ships a library for this platform"
    released = serving(case, [bnb_has_cuda_binary, bnb_binary_has_sm], why, verify=NAME)
    if case.machine.os.value == "macos":
        return [*released, by_hand("change-hardware", "its CUDA kernels need an NVIDIA GPU")]
    return [*released, by_hand("rebuild", "built from source it has a library for this platform")]


RULE = of_layers(
    NAME,
    __doc__,
    (bnb_has_cuda_binary, bnb_binary_has_sm),
    severity="note",
    title=_title,
    fixes=_fixes,
)
