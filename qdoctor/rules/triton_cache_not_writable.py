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
from qdoctor.rules.case import Suspicion, accused, rule
from qdoctor.rules.observed import what_happened
from qdoctor.rules.toolchain import PROBE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "triton-cache-not-writable"


def find(case: Case) -> Iterator[Finding]:
    """Report a cache folder that the probe found unusable, or that an error text complains of."""
    seen = next((one for one in case.observations if one.code == NAME), None)
    told = accused(case, NAME, "whether the folder can be used was not tried out")
    if seen is not None and launches_kernels(case, NAME):
        yield _finding(case, seen.detail, Suspicion([what_happened(seen)]))
    elif told is not None and not _worked(case):
        yield _finding(case, case.said(NAME, "folder") or "it does not load from it", told)


def _worked(case: Case) -> bool:
    return any(one.probe == PROBE and one.variant == "cache" and one.outcome == "passed"
               for one in case.observations)  # fmt: skip


def _finding(case: Case, what: str, why: Suspicion) -> Finding:
    return Finding(
        rule=NAME,
        severity="warning",
        title=f"triton cannot use its cache folder: {what}",
        because=why.because,
        fixes=[
            Fix(
                action="set-env",
                name="TRITON_CACHE_DIR",
                why="it names a folder that may be written to and loaded from",
                verify=PROBE,
            )
        ],
        affects=needing(case, "triton_can_compile"),
        undecided=why.undecided,
    )


RULE = rule(NAME, __doc__, find)
