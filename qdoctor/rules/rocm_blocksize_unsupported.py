"""The 4-bit block size of 64 is refused on an AMD GPU.

## What it finds
bitsandbytes' text `The blockwise of 64 is not supported`, or its assertion, of a build for ROCm.

## Why it hurts
64 is what everyone's checkpoints and defaults use: they cannot be loaded.

## How we know
Builds for ROCm leave 64 out of the sizes they accept, because the wavefronts of many AMD GPUs are
64 wide; which releases have a kernel for it is in the data.

## Fix
Upgrade bitsandbytes; or quantize with blocks of 128.

## When to ignore
Never: the model is not loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Because, Finding, Fix
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.remedies import pip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "rocm-blocksize-unsupported"
_OURS = "nvidia"
_OPEN = "whether the GPU is AMD's"


def find(case: Case) -> Iterator[Finding]:
    """Report a block size that a build for ROCm refuses; NVIDIA's builds refuse other sizes."""
    gpus = case.machine.gpus.value or case.machine.facts.gpus or []
    if gpus and all(gpu.vendor == _OURS for gpu in gpus):
        return
    known = any(gpu.vendor not in {None, _OURS} or gpu.arch for gpu in gpus)
    table = case.matrix.table("rocm_blocksizes")
    for signal in case.signals_of(NAME):
        row = table["rows"].get(signal.said.get("blocksize", table["refused"]))
        if row is None:
            continue
        yield Finding(
            rule=NAME,
            severity="note",
            title="this build of bitsandbytes for ROCm has no 4-bit kernel for blocks of 64",
            because=[
                quoted(signal),
                Because(row["why"], table["sources"][row["source"]], row["strength"]),
            ],
            fixes=[
                pip("upgrade", "bitsandbytes", row["spec"], row["why"], verify=NAME),
                Fix(action="change-code", why=row["instead"]),
            ],
            undecided=None if known else _OPEN,
        )


RULE = rule(NAME, __doc__, find)
