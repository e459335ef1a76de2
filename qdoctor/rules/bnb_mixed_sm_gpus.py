"""GPUs with and without int8 matrix units in one machine, and bitsandbytes chooses one library.

## What it finds
Visible GPUs on both sides of the line between SMs that have int8 matrix units and those that lack
them, beside an error text of the library that was chosen for the other kind.

## Why it hurts
Older bitsandbytes looks at one GPU (the last one, later the newest one) and loads one library for
all: on the other kind its kernels are missing, or its int8 product is.

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
from qdoctor.rules.bnb_releases import BNB, serving
from qdoctor.rules.case import rule
from qdoctor.rules.remedies import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix
    from qdoctor.rules.case import Case, Signal

NAME = "bnb-mixed-sm-gpus"
_VARIABLE = "CUDA_VISIBLE_DEVICES"
_OF_ONE_GPU = "bnb-slow-int8"
"""The text that newer releases print of the GPU that computes, older ones of the one looked at."""


def find(case: Case) -> Iterator[Finding]:
    """Report GPUs of both kinds where one library is chosen for all, or a text speaks of it."""
    sms = sorted({gpu.sm for gpu in case.machine.usable_gpus if gpu.sm})
    kinds = {_has_int8(case, sm) for sm in sms}
    signals = [one for one in case.signals_of(NAME) if _chosen_for_all(case, one)]
    if kinds != {True, False} or not (signals or _one_library(case)):
        return
    because = [
        case.matrix.because_row("sm", sm, f"SM {sm} has {_units(case, sm)} int8 matrix units")
        for sm in sms
    ]
    texts = [Because(one.line, f"known from {one.source}", "observed") for one in signals]
    able = [gpu.name or f"SM {gpu.sm}" for gpu in case.machine.usable_gpus if _able(case, gpu.sm)]
    why = f"show GPUs of one kind to the process: name the index of {listed(able)} alone"
    yield Finding(
        rule=NAME,
        severity="note",
        title=f"GPUs of both kinds (SM {listed(sms)}) share one bitsandbytes library",
        because=[*because, *texts],
        fixes=[Fix(action="set-env", name=_VARIABLE, why=why, verify=NAME), *_newer(case)],
        affects=needing(case, "bnb_int8_on_this_sm"),
    )


def _chosen_for_all(case: Case, signal: Signal) -> bool:
    """Say whether a text may come of the choice: a release with one library warns of one GPU."""
    version = case.machine.bitsandbytes.value
    return signal.signature != _OF_ONE_GPU or version is None or _one_library(case)


def _one_library(case: Case) -> bool:
    """Say whether the installed release chooses its library by a GPU's SM (table)."""
    return bool(_chooses(case.machine, case.matrix))


def _chooses(machine: Machine, matrix: Matrix) -> bool | None:
    """Say whether a release chooses by a GPU's SM; None where that is not known."""
    version = machine.bitsandbytes.value
    rows = matrix.table("bnb_binaries")["rows"]
    row = row_for(matrix, rows, BNB, version) if version else None
    return None if row is None else bool(row["without_cublaslt"])


def _newer(case: Case) -> list[Fix]:
    """Offer the releases with one library for every GPU."""
    why = "it has one library for all GPUs"
    matrix = case.matrix
    return serving(case, [], why, verify=NAME, also=lambda one: _chooses(one, matrix) is False)


def _able(case: Case, sm: str | None) -> bool:
    return bool(sm and _has_int8(case, sm))


def _has_int8(case: Case, sm: str) -> bool | None:
    row = case.matrix.row("sm", sm)
    return bool(row["int8_mma"]) if row else None


def _units(case: Case, sm: str) -> str:
    return "" if _has_int8(case, sm) else "no"


RULE = rule(NAME, __doc__, find)
