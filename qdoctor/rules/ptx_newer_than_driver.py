"""The driver cannot compile the PTX that a library holds for this GPU.

## What it finds
A library without machine code for the GPU, whose PTX was written by a CUDA toolkit newer than the
newest CUDA version that the driver supports.

## Why it hurts
Its kernels fail with `the provided PTX was compiled with an unsupported toolchain`
(cudaErrorUnsupportedPtxVersion), although the same CUDA version otherwise runs on this driver:
minor-version compatibility does not cover PTX.

## How we know
The PTX ISA version stands in the headers of the library's fat binaries; which CUDA release brought
it stands in NVIDIA's PTX documentation. Without the library, torch's CUDA version says what wrote
its PTX.

## Fix
Install the driver of that CUDA release, or a newer one; or a build that has machine code for the
GPU or was made with a CUDA version that the driver supports.

## When to ignore
If the package is not used on this GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import Version

from qdoctor.layers import Answer
from qdoctor.layers.natives import package_ptx_compiles, packages_with_code, torch_ptx_compiles
from qdoctor.model import Finding
from qdoctor.released import parsed
from qdoctor.rules.affected import needing
from qdoctor.rules.case import rule, suspect
from qdoctor.rules.remedies import by_hand
from qdoctor.rules.torch_builds import offers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "ptx-newer-than-driver"
_NEEDS = {"torch": "torch_has_sm", "bitsandbytes": "bnb_binary_has_sm"}


def find(case: Case) -> Iterator[Finding]:
    """Report the packages whose PTX the driver cannot compile; else what a text accuses."""
    asked = {
        package: package_ptx_compiles(case.machine, case.matrix, package)
        for package in packages_with_code(case.machine)
    }
    if asked.get("torch") is None:
        asked = {"torch": case.ask(torch_ptx_compiles), **asked}
    sure = [one for one, answer in asked.items() if answer.value == "no"]
    for package in sure:
        yield from _found(case, package, asked[package])
    if not sure:
        # A text may be about a program that is no package here: what was read does not refute it.
        yield from _found(case, "", Answer("unknown", "which library holds the PTX is not known"))


def _found(case: Case, package: str, answer: Answer) -> Iterator[Finding]:
    suspicion = suspect(case, NAME, answer)
    if suspicion is None:
        return
    driver = case.machine.driver_version.value
    whose = f"{package}'s PTX" if package else "the PTX of a library"
    yield Finding(
        rule=NAME,
        severity="error" if package == "torch" else "warning",
        title=f"{f'driver {driver}' if driver else 'the driver'} cannot compile {whose}",
        because=suspicion.because,
        fixes=_fixes(case, package),
        affects=needing(case, _NEEDS[package]) if package in _NEEDS else [],
        undecided=suspicion.undecided,
    )


def _fixes(case: Case, package: str) -> list[Fix]:
    driver = by_hand(
        "upgrade-driver",
        "a driver compiles PTX of its own CUDA release and of all before it",
        spec=_driver(case, package),
        verify=NAME,
    )
    why = "with a CUDA version that the driver supports, or with machine code for this GPU"
    if package == "torch":
        return [driver, *offers(case, why, verify=NAME, also=[torch_ptx_compiles])]
    return [driver, by_hand("rebuild", why, verify=NAME)]


def _driver(case: Case, package: str) -> str | None:
    """Name the driver that came with the CUDA release at hand.

    Where that is not known: of the first release after the present driver's, else of the newest.
    """
    rows = case.matrix.table("cuda")["rows"]
    stated = case.machine.torch_cuda.value if package else case.machine.facts.toolkit_cuda
    own = parsed(case.machine.driver_cuda.value)
    above = sorted((one for one in rows if own and Version(one) > own), key=Version)
    row = rows.get(stated) or rows[next(iter(above), max(rows, key=Version))]
    minimum = row["driver_windows" if case.machine.os.value == "windows" else "driver_linux"]
    return f">={minimum}" if minimum else None


RULE = rule(NAME, __doc__, find, symptom_of=("driver-too-old",))
