"""This bitsandbytes has no library for Windows.

## What it finds
A bitsandbytes release whose wheel holds no DLL for CUDA, on Windows.

## Why it hurts
It cannot load its native library: quantized layers and optimizers fail.

## How we know
The libraries in each released wheel are listed by platform.

## Fix
Install a release that has Windows libraries.

## When to ignore
If bitsandbytes is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import bnb_has_cuda_binary, bnb_ships_here
from qdoctor.rules.bnb_releases import serving
from qdoctor.rules.of_layer import of_layers

if TYPE_CHECKING:
    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "bnb-windows-unsupported"


def _title(case: Case) -> str:
    bnb, system = case.machine.bitsandbytes.value, case.machine.os.value
    return f"bitsandbytes {bnb or '?'} ships no CUDA library for {system or 'this system'}"


def _fixes(case: Case) -> list[Fix]:
    why = "it has libraries for Windows"
    return serving(case, [bnb_ships_here], why, verify=NAME)


RULE = of_layers(
    NAME, __doc__, (bnb_has_cuda_binary,), severity="warning", title=_title, fixes=_fixes
)
