"""Importing bitsandbytes asks triton for a GPU, and there is none.

## What it finds
A triton whose autotune decorators ask for a GPU driver as soon as they are applied, beside a
bitsandbytes that applies them when it is imported, on a machine without a GPU.

## Why it hurts
`import bitsandbytes` fails with `0 active drivers ([]). There should only be one.`, so even what
needs no GPU cannot be prepared here.

## How we know
Where bitsandbytes applies the decorators, and what each triton release does in them, is read from
the released files; that there is no GPU from the facts of the machine.

## Fix
Install a bitsandbytes whose import leaves triton alone.

## When to ignore
If bitsandbytes is only ever imported on machines with a GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import Answer, bnb_imports, gpu_present
from qdoctor.model import Because, Finding, Fix, Gpu
from qdoctor.rules.affected import needing
from qdoctor.rules.bnb_releases import importable
from qdoctor.rules.case import rule, suspect
from qdoctor.rules.remedies import by_hand
from qdoctor.rules.what_if import with_gpu

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "triton-import-needs-gpu"


def find(case: Case) -> Iterator[Finding]:
    """Report a bitsandbytes whose import makes triton look for a GPU that is not there."""
    suspicion = suspect(case, NAME, _imports(case))
    if suspicion is None:
        return
    yield Finding(
        rule=NAME,
        severity="error",
        title=f"{_importing(case)} cannot be imported: triton asks for a GPU, there is none",
        because=[*suspicion.because, *_what_comes_next(case)],
        fixes=list(_fixes(case)),
        affects=needing(case, "bnb_imports"),
        undecided=suspicion.undecided,
    )


def _importing(case: Case) -> str:
    """Name what is imported: bitsandbytes where it is known to be there, else some package."""
    if case.machine.installed("bitsandbytes") != "yes":
        return "a package with Triton kernels"
    return f"bitsandbytes {case.machine.bitsandbytes.value or '?'}"


def _fixes(case: Case) -> Iterator[Fix]:
    if case.machine.installed("bitsandbytes") != "yes":
        why = "triton looks for a GPU as soon as a kernel of some package is defined"
        yield by_hand("change-hardware", why, verify=NAME)
        why = "the package that the traceback names, if it is optional here"
        yield Fix(action="uninstall", why=why)
    yield from importable(case, "its import leaves triton alone", verify=NAME)


def _imports(case: Case) -> Answer:
    """Ask the layer; what else is in the way does not refute a text where the GPUs are unknown."""
    answer, gpu = case.ask(bnb_imports), case.ask(gpu_present)
    if gpu.value == "unknown" and answer.rule != NAME:
        return Answer("unknown", gpu.reason)
    return answer


def _what_comes_next(case: Case) -> list[Because]:
    """Say which obstacle a GPU would uncover: asked of the same machine with a GPU in it."""
    machine = with_gpu(case.machine, case.matrix, Gpu(index=0, vendor="nvidia"))
    answer = bnb_imports(machine, case.matrix)
    if answer.value != "no" or answer.rule == NAME:
        return []
    named = answer.rule or "another one"
    return [
        Because(f"with a GPU the next obstacle is {named}: {one.text}", one.source, one.strength)
        for one in answer.because[:1]
    ]


RULE = rule(NAME, __doc__, find)
