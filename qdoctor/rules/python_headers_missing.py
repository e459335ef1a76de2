"""Python.h is missing, which triton needs to compile its launcher.

## What it finds
An interpreter without its C headers on a machine where triton has to start kernels.

## Why it hurts
triton compiles a small C file the first time it starts a kernel. Without the headers every Triton
kernel and `torch.compile` fail with `Python.h: No such file or directory`.

## How we know
The interpreter says where its headers should be, and the file is not there. In a virtual
environment the headers of the base interpreter count. The probe `triton_toolchain` compiles an
extension with the folders that triton names; what it saw counts more.

## Fix
Install the headers of the very interpreter: the system's package for a system Python; other Pythons
(pyenv, conda, uv) come with theirs.

## When to ignore
If nothing here uses triton or `torch.compile`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Finding
from qdoctor.rules.affected import needing
from qdoctor.rules.build_tools import of_this_system
from qdoctor.rules.case import rule, suspect
from qdoctor.rules.remedies import system_package
from qdoctor.rules.toolchain import of_part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "python-headers-missing"


def find(case: Case) -> Iterator[Finding]:
    """Report an interpreter without Python.h where triton needs it."""
    answer = of_part(case, NAME, "headers", case.machine.headers, "Python.h")
    suspicion = suspect(case, NAME, answer)
    if suspicion is None:
        return
    version = case.machine.python.value or ""
    short = ".".join(version.split(".")[:2])
    exact = f"; for a Python {short} beside the system's it is python{short}-dev" if short else ""
    why = f"it holds Python.h{exact}; distributions other than Debian's kin call it python3-devel"
    usual = system_package("python3-dev", "apt-get install python3-dev", why, verify=NAME)
    yield Finding(
        rule=NAME,
        severity="warning",
        title="Python.h is missing: triton cannot compile the launcher of a kernel",
        because=suspicion.because,
        fixes=of_this_system(case, NAME) or [usual],
        affects=needing(case, "triton_can_compile"),
        undecided=suspicion.undecided,
    )


RULE = rule(NAME, __doc__, find)
