"""The GPU driver is too old for the CUDA version that torch was built with.

## What it finds
A driver that supports no CUDA as new as torch's, with minor-version compatibility and an active
cuda-compat package taken into account.

## Why it hurts
torch refuses to start CUDA, or sees no GPU and silently works on the CPU.

## How we know
The driver says which CUDA version it supports; NVIDIA's release notes say which driver each CUDA
toolkit needs at least, and which newer minor versions an older driver runs.

## Fix
Install the build of the same torch release for a CUDA version that the driver serves, or a newer
driver; on data-centre GPUs a cuda-compat package lifts the driver's ceiling.

## When to ignore
Never, if the GPU is to be used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import Version

from qdoctor.layers import Answer, driver_serves_torch, gpu_present
from qdoctor.model import Finding
from qdoctor.released import parsed
from qdoctor.rules.affected import needing
from qdoctor.rules.case import rule, suspect
from qdoctor.rules.remedies import by_hand
from qdoctor.rules.torch_builds import offers, tag_here

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "driver-too-old"
_SAYS_SO = "driver-too-old"
_ALIVE = "cuda_alive"


def find(case: Case) -> Iterator[Finding]:
    """Report a driver that does not serve torch's CUDA version.

    Where there is no NVIDIA GPU a text alone accuses no driver: CUDA says the same without any.
    """
    suspicion = suspect(case, NAME, _serves(case))
    if suspicion is None or (suspicion.undecided and case.ask(gpu_present).value == "no"):
        return
    yield Finding(
        rule=NAME,
        severity="error",
        title=_title(case),
        because=suspicion.because,
        fixes=_fixes(case),
        affects=["gpu", *needing(case, "gpu_present")],
        undecided=suspicion.undecided,
    )


def _serves(case: Case) -> Answer:
    """Ask the layer; torch's own word that it does not serve outweighs what the versions say."""
    answer = case.ask(driver_serves_torch)
    says = any(one.signature == _SAYS_SO for one in case.signals_of(NAME))
    started = any(one.probe == _ALIVE and one.outcome == "passed" for one in case.observations)
    if answer.value == "yes" and says and not started:
        return Answer("unknown", "for which CUDA version the torch that runs is built")
    return answer


def _fixes(case: Case) -> list[Fix]:
    """Offer another build of the installed torch; else a driver before another release of torch."""
    builds = offers(case, "this build needs no newer driver", verify=NAME, before=tag_here(case))
    own = parsed(case.machine.torch.value)
    same = [one for one in builds if own is not None and one.spec == f"=={own.public}"]
    known = own is None and case.machine.torch_cuda.value is not None
    return [*builds, _newer(case)] if same or known else [_newer(case), *builds]


def _title(case: Case) -> str:
    cuda, driver = case.machine.torch_cuda.value, case.machine.driver_version.value
    what = f"the GPU driver {driver}" if driver else "the GPU driver"
    return f"{what} is too old for " + (f"torch's CUDA {cuda}" if cuda else "torch's CUDA version")


def _newer(case: Case) -> Fix:
    """Name the oldest driver that serves torch's CUDA version, from NVIDIA's table.

    Where that is not known: the oldest that serves more than the present one.
    """
    row = case.matrix.row("cuda", case.machine.torch_cuda.value or _next(case))
    host = case.machine.os.value or "linux"
    minimum = row.get(f"minimum_{host}") if row else None
    why = "a newer driver supports every older CUDA version too"
    return by_hand("upgrade-driver", why, spec=f">={minimum}" if minimum else None, verify=NAME)


def _next(case: Case) -> str:
    """Name the first CUDA version that the driver does not serve; the newest for an unknown one.

    It serves later versions too, as far as their minimum reaches down to it.
    """
    rows = case.matrix.table("cuda")["rows"]
    known: list[str] = sorted(rows, key=Version)
    own, host = parsed(case.machine.driver_cuda.value), case.machine.os.value or "linux"
    came = parsed(rows.get(case.machine.driver_cuda.value, {}).get(f"driver_{host}"))
    for one in known:
        minimum = parsed(rows[one].get(f"minimum_{host}"))
        below = came is not None and minimum is not None and minimum <= came
        if own and Version(one) > own and not below:
            return one
    return known[-1]


RULE = rule(NAME, __doc__, find)
