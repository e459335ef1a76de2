"""GPUs with and without int8 matrix units in one machine, and bitsandbytes chooses one library.

## What it finds
Visible GPUs on both sides of the line between SMs that have int8 matrix units and those that lack
them, beside an error text of the library that was chosen for the other kind.

## Why it hurts
Older bitsandbytes looks at the newest GPU and loads one library for all: on the other kind its
kernels are missing, or its int8 product is.

## How we know
The SM of each GPU, and NVIDIA's table of which SM has which matrix units.

## Fix
Show one kind of GPU to the process, or install a bitsandbytes that has one library for both.

## When to ignore
If only one kind is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Because, Finding, Fix
from qdoctor.released import row_for
from qdoctor.rules.affected import needing
from qdoctor.rules.bnb_releases import BNB
from qdoctor.rules.case import rule
from qdoctor.rules.remedies import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "bnb-mixed-sm-gpus"
_VARIABLE = "CUDA_VISIBLE_DEVICES"


def find(case: Case) -> Iterator[Finding]:
    """Report GPUs of both kinds where one library is chosen for all, or a text speaks of it."""
    sms = sorted({gpu.sm for gpu in case.machine.usable_gpus if gpu.sm})
    kinds = {_has_int8(case, sm) for sm in sms}
    if kinds != {True, False} or not (case.signals_of(NAME) or _one_library(case)):
        return
    because = [
        case.matrix.because_row("sm", sm, f"SM {sm} has {_units(case, sm)} int8 matrix units")
        for sm in sms
    ]
    texts = [
        Because(one.line, f"known from {one.source}", "observed") for one in case.signals_of(NAME)
    ]
    why = "it shows GPUs of one kind to the process: name the indices to use"
    yield Finding(
        rule=NAME,
        severity="note",
        title=f"GPUs of both kinds (SM {listed(sms)}) share one bitsandbytes library",
        because=[*because, *texts],
        fixes=[Fix(action="set-env", name=_VARIABLE, why=why, verify=NAME)],
        affects=needing(case, "bnb_int8_on_this_sm"),
    )


def _one_library(case: Case) -> bool:
    """Say whether the installed release chooses its library by a GPU's SM (table)."""
    version = case.machine.bitsandbytes.value
    rows = case.matrix.table("bnb_binaries")["rows"]
    row = row_for(case.matrix, rows, BNB, version) if version else None
    return bool(row and row["without_cublaslt"])


def _has_int8(case: Case, sm: str) -> bool | None:
    row = case.matrix.row("sm", sm)
    return bool(row["int8_mma"]) if row else None


def _units(case: Case, sm: str) -> str:
    return "" if _has_int8(case, sm) else "no"


RULE = rule(NAME, __doc__, find)
