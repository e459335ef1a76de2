"""Python.h is missing, which triton needs to compile its launcher.

## What it finds
An interpreter without its C headers on a machine where triton has to start kernels.

## Why it hurts
triton compiles a small C file the first time it starts a kernel. Without the headers every Triton
kernel and `torch.compile` fail with `Python.h: No such file or directory`.

## How we know
The interpreter says where its headers should be, and the file is not there. In a virtual
environment the headers of the base interpreter count.

## Fix
Install the headers of the very interpreter: the system's package for a system Python; other Pythons
(pyenv, conda, uv) come with theirs.

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

NAME = "python-headers-missing"


def find(case: Case) -> Iterator[Finding]:
    """Report an interpreter without Python.h where triton needs it."""
    suspicion = suspect(case, NAME, _headers(case))
    if suspicion is None:
        return
    version = case.machine.python.value or ""
    short = ".".join(version.split(".")[:2])
    exact = f"; for a Python {short} beside the system's it is python{short}-dev" if short else ""
    why = f"it holds Python.h{exact}; distributions other than Debian's kin call it python3-devel"
    fix = system_package("python3-dev", "apt-get install python3-dev", why, verify=NAME)
    yield Finding(
        rule=NAME,
        severity="warning",
        title="Python.h is missing: triton cannot compile the launcher of a kernel",
        because=suspicion.because,
        fixes=[fix],
        affects=needing(case, "triton_can_compile"),
        undecided=suspicion.undecided,
    )


def _headers(case: Case) -> Answer:
    """Ask for the headers alone: a missing compiler is a finding of its own."""
    known = case.machine.headers
    if known.value is None:
        return Answer("unknown", known.reason)
    because = (known.because,) if known.because else ()
    missing = known.value is False and launches_kernels(case, NAME)
    return Answer("no" if missing else "yes", "Python.h", because, NAME)


RULE = rule(NAME, __doc__, find)
