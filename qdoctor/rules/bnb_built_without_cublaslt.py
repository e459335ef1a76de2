"""The bitsandbytes library was built without cuBLASLt, so it has no int8 product.

## What it finds
A native library of bitsandbytes for CUDA that does not need `libcublasLt`, in a package built from
source or chosen by an override.

## Why it hurts
`Linear8bitLt` fails with `igemmlt not available (probably built with NO_CUBLASLT)` on a GPU that
could do it.

## How we know
What a library needs is read from its ELF headers.

## Fix
Install the released wheel, whose libraries use cuBLASLt.

## When to ignore
If int8 is not used: 4-bit layers and optimizers do not need it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Because, Finding
from qdoctor.rules.affected import needing
from qdoctor.rules.case import rule
from qdoctor.rules.remedies import pip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix, NativeLibrary
    from qdoctor.rules.case import Case

NAME = "bnb-built-without-cublaslt"
_NEEDED = "libcublaslt"


def find(case: Case) -> Iterator[Finding]:
    """Report a bitsandbytes whose every CUDA library is known to do without cuBLASLt."""
    libraries = [one for one in case.machine.facts.native or () if _is_cuda_library(one)]
    if not libraries or not all(_lacks(one) for one in libraries):
        return
    names = ", ".join(one.file or "?" for one in libraries)
    yield Finding(
        rule=NAME,
        severity="note",
        title="bitsandbytes' library was built without cuBLASLt: it has no int8 product",
        because=[Because(f"{names} needs no libcublasLt", "facts: native", "inspected")],
        fixes=_fixes(case),
        affects=needing(case, "bnb_int8_on_this_sm"),
    )


def _is_cuda_library(one: NativeLibrary) -> bool:
    return one.package == "bitsandbytes" and "_cuda" in (one.file or "")


def _lacks(one: NativeLibrary) -> bool:
    return one.needs is not None and not any(name.lower().startswith(_NEEDED) for name in one.needs)


def _fixes(case: Case) -> list[Fix]:
    version = case.machine.bitsandbytes.value
    known = case.matrix.matching("bitsandbytes", version) if version else ()
    release = known[-1] if known else str(case.matrix.versions("bitsandbytes")[-1])
    why = "the libraries of the released wheel use cuBLASLt"
    return [pip("reinstall", "bitsandbytes", f"=={release}", why, verify="bnb-int8")]


RULE = rule(NAME, __doc__, find)
