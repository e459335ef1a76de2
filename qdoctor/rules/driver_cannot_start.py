"""The NVIDIA driver is there, and CUDA cannot start on it.

## What it finds
A driver that answers the first calls of CUDA with an error of its own: its libraries and its kernel
module disagree (803), a cuda-compat library does not serve this GPU (804), the fabric manager of an
NVSwitch system is not running (802), it says no more than *unknown* (999); or one that starts and
has no compiler for PTX (221).

## Why it hurts
Nothing runs on the GPU, while `nvidia-smi` may look well: it asks another library. torch says only
`Error 803` or `cuda.is_available() == False`.

## How we know
The probe `cuda_alive` makes the calls itself, without torch, and names the error. What each one
means stands in the table `driver_errors`, from NVIDIA's documentation.

## Fix
By the error: restart the machine after an upgrade of the driver, take cuda-compat out of
LD_LIBRARY_PATH, start nvidia-fabricmanager.

## When to ignore
Never, if the GPU is to be used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdoctor import released
from qdoctor.model import Finding, Fix
from qdoctor.rules.affected import needing
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.observed import what_happened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Because, Observation
    from qdoctor.rules.case import Case

NAME = "driver-cannot-start"
PROBE = "cuda_alive"
GPU = "gpu"


def find(case: Case) -> Iterator[Finding]:
    """Report each error of the driver once, whatever calls met it and on however many GPUs."""
    for row in case.matrix.table("driver_errors")["rows"]:
        seen = [one for one in case.observations if _is_of(one, row)]
        told = [one for one in case.signals_of(NAME) if one.signature in row.get("signatures", ())]
        if seen:
            yield _finding(case, row, [what_happened(seen[0]), *map(quoted, told)], None)
        elif told and not _starts(case, row):
            open_ = f"the probe {PROBE} did not run here, so it is not known whether it is so now"
            yield _finding(case, row, [quoted(told[0])], open_)


def _is_of(one: Observation, row: dict[str, Any]) -> bool:
    """Say whether the probe met this very error; some have no code of their own."""
    return one.probe == PROBE and one.code is not None and one.code == row.get("code")


def _starts(case: Case, row: dict[str, Any]) -> bool:
    """Say whether the driver was seen to do here what the error would have kept it from."""
    passed = {
        one.variant for one in case.observations if (one.probe, one.outcome) == (PROBE, "passed")
    }
    return ("context" if row["stops"] == GPU else "ptx-jit") in passed


def _finding(
    case: Case, row: dict[str, Any], because: list[Because], undecided: str | None
) -> Finding:
    table = case.matrix.table("driver_errors")
    stops = row["stops"] == GPU
    return Finding(
        rule=NAME,
        severity="error" if stops else "warning",
        title=row["title"],
        because=[*because, released.cited(table, row, row["title"])],
        fixes=list(_fixes(case, row)),
        affects=[PROBE, GPU, *needing(case, "gpu_present")] if stops else [PROBE],
        undecided=undecided,
    )


def _fixes(case: Case, row: dict[str, Any]) -> Iterator[Fix]:
    """Offer what there is on this system: ``os`` names the one that alone has it."""
    for one in row["fixes"]:
        system, fix = one.get("os"), {key: said for key, said in one.items() if key != "os"}
        if system is None or case.machine.os.value in {None, system}:
            yield Fix(verify=PROBE, **fix)


RULE = rule(NAME, __doc__, find)
