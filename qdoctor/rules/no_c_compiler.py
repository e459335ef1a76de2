"""No C compiler, which triton needs to compile its launcher.

## What it finds
A machine without a C compiler on which triton has to start kernels.

## Why it hurts
triton compiles a small C file the first time it starts a kernel. Without a compiler every Triton
kernel and `torch.compile` fail with `Failed to find C compiler`.

## How we know
Neither the variable CC nor gcc or clang on PATH names a compiler, which is where triton looks.

## Fix
Install a C compiler, or name one in CC.

## When to ignore
If nothing here uses triton or `torch.compile`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import Answer
from qdoctor.model import Finding
from qdoctor.rules.affected import launches_kernels, needing
from qdoctor.rules.case import rule, suspect
from qdoctor.rules.remedies import system_package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "no-c-compiler"


def find(case: Case) -> Iterator[Finding]:
    """Report a machine without a C compiler where triton needs one."""
    suspicion = suspect(case, NAME, _compiler(case))
    if suspicion is None:
        return
    why = "triton compiles the launcher of each kernel with it"
    yield Finding(
        rule=NAME,
        severity="warning",
        title="there is no C compiler: triton cannot compile the launcher of a kernel",
        because=suspicion.because,
        fixes=[system_package("gcc", "apt-get install gcc libc6-dev", why, verify=NAME)],
        affects=needing(case, "triton_can_compile"),
        undecided=suspicion.undecided,
    )


def _compiler(case: Case) -> Answer:
    """Ask for the compiler alone, where triton starts kernels at all."""
    known = case.machine.c_compiler
    if known.value is None:
        return Answer("unknown", known.reason)
    because = (known.because,) if known.because else ()
    missing = known.value is False and launches_kernels(case, NAME)
    return Answer("no" if missing else "yes", "a C compiler", because, NAME)


RULE = rule(NAME, __doc__, find)
