"""An installed package does not find the CUDA libraries that it was built for.

## What it finds
A library of torch that needs a CUDA library which resolves to no file; and a package built on torch
(flash-attn, xformers, an extension of one's own) that needs another major version of one than torch
brings: `libcudart.so.12` beside a torch for CUDA 13. For bitsandbytes there is a rule of its own.

## Why it hurts
The import fails with `libcudart.so.12: cannot open shared object file`. Where a toolkit of that
major happens to be installed it is found, and two CUDA runtimes then share one process.

Two libraries of one toolkit in different releases do not fit each other
(`undefined symbol: __nvJitLinkComplete_12_4`): mostly LD_LIBRARY_PATH names the folder of an older
toolkit, which the loader searches first.

## How we know
What each library needs is read from its ELF header; the dynamic loader's way is followed for each,
in a process that has imported torch. An error text names the library, and its traceback or the
path of the file that needs it says whose it is.

## Fix
Take misleading folders out of LD_LIBRARY_PATH; install the package that brings the library.
Install the build of the package for torch's CUDA version, or build it against this torch.

## When to ignore
If the package is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers.natives import READ
from qdoctor.model import Because, Finding, Fix
from qdoctor.rules.affected import needing
from qdoctor.rules.case import rule
from qdoctor.rules.cuda_libs_in_text import found_in
from qdoctor.rules.remedies import by_hand, pip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import NativeLibrary
    from qdoctor.rules.case import Case

NAME = "cuda-libs-not-found"
_TORCH = "torch"
_BY_OTHERS = {"bitsandbytes"}  # it has a rule of its own, about the one library that it loads
_OF_DRIVER = ("libcuda.so", "libnvidia-")  # the driver's, of which other rules speak


def find(case: Case) -> Iterator[Finding]:
    """Report each package with a library whose CUDA libraries are missing, read or told."""
    found = list(_inspected(case))
    yield from found or found_in(case, NAME)


def _inspected(case: Case) -> Iterator[Finding]:
    told: set[str] = set()
    for library in case.machine.facts.native or ():
        package = library.package or ""
        if package in told | _BY_OTHERS:
            continue
        lacking = _missing(library) if package == _TORCH else _of_other_major(case, library)
        if lacking:
            told.add(package)
            yield _finding(case, library, lacking)


def _finding(case: Case, library: NativeLibrary, lacking: dict[str, str]) -> Finding:
    package = library.package or "?"
    told = ", ".join(
        f"{need} (torch has {other})" if other else need for need, other in lacking.items()
    )
    text = f"{library.file} needs {told}, which the loader does not find"
    is_torch = package == _TORCH
    return Finding(
        rule=NAME,
        severity="error" if is_torch else "warning",
        title=f"{package} does not find {', '.join(lacking)}",
        because=[Because(text, READ, "inspected")],
        fixes=_fixes(case, package),
        affects=["gpu", *needing(case, "torch_has_cuda")] if is_torch else [],
    )


def _missing(library: NativeLibrary) -> dict[str, str]:
    """Name what resolves to no file, the driver's own libraries left out."""
    return {
        need: ""
        for need, file in (library.resolved or {}).items()
        if not file and not need.startswith(_OF_DRIVER)
    }


def _of_other_major(case: Case, library: NativeLibrary) -> dict[str, str]:
    """Name what is missing while torch is given another major of it: need -> torch's."""
    given = {
        need.partition(".so.")[0]: need
        for one in case.machine.facts.native or ()
        if one.package == _TORCH
        for need, file in (one.resolved or {}).items()
        if file
    }
    return {
        need: given[stem]
        for need in _missing(library)
        if (stem := need.partition(".so.")[0]) in given and given[stem] != need
    }


def _fixes(case: Case, package: str) -> list[Fix]:
    cuda, version = case.machine.torch_cuda.value, case.machine.package(package).value
    if package == _TORCH:
        why = "its wheel brings the CUDA libraries along as packages of their own"
        spec = f"=={version.partition('+')[0]}" if version else ""
        return [pip("install", package, spec, why, verify=NAME)]
    why = f"a build for torch's CUDA {cuda}" if cuda else "a build for torch's CUDA version"
    return [
        Fix(action="install-matching", package=package, why=f"{why} needs what torch brings"),
        by_hand("rebuild", "built against this torch it needs what torch brings", verify=NAME),
    ]


RULE = rule(NAME, __doc__, find)
