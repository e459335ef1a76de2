"""The folder in which Triton keeps what it compiles cannot be used.

## What it finds
A machine on which triton has to start kernels, and whose user may not write to Triton's cache
folder, or not load what was built from it.

## Why it hurts
Triton writes every kernel, and the C extension that launches them, into that folder and loads it
from there: `PermissionError`, `Read-only file system` or `failed to map segment from shared object`
end the first kernel that is launched, and with it `torch.compile`.

## How we know
The probe `triton_toolchain` asks the installed triton for the folder and looks at it: is it, or the
nearest folder above that exists, writable, and on a file system that is mounted neither read-only
nor noexec? Nothing is written.

## Fix
Name a folder that may be written to in TRITON_CACHE_DIR, or give the user a home folder.

## When to ignore
If nothing here uses triton or `torch.compile`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Finding, Fix
from qdoctor.rules.affected import launches_kernels, needing
from qdoctor.rules.case import rule
from qdoctor.rules.observed import what_happened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "triton-cache-not-writable"


def find(case: Case) -> Iterator[Finding]:
    """Report a cache folder that the probe found unusable, where triton starts kernels."""
    seen = next((one for one in case.observations if one.code == NAME), None)
    if seen is None or not launches_kernels(case, NAME):
        return
    yield Finding(
        rule=NAME,
        severity="warning",
        title=f"triton cannot use its cache folder: {seen.detail}",
        because=[what_happened(seen)],
        fixes=[
            Fix(
                action="set-env",
                name="TRITON_CACHE_DIR",
                why="it names a folder that may be written to and loaded from",
                verify="triton_toolchain",
            )
        ],
        affects=needing(case, "triton_can_compile"),
    )


RULE = rule(NAME, __doc__, find)
