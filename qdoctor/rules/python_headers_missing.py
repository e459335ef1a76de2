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

    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "python-headers-missing"


def find(case: Case) -> Iterator[Finding]:
    """Report an interpreter without Python.h where triton needs it."""
    answer = of_part(case, NAME, "headers", case.machine.headers, "Python.h")
    suspicion = suspect(case, NAME, answer)
    if suspicion is None:
        return
    yield Finding(
        rule=NAME,
        severity="warning",
        title="Python.h is missing: triton cannot compile the launcher of a kernel",
        because=suspicion.because,
        fixes=of_this_system(case, NAME) or _of_debian(case),
        affects=needing(case, "triton_can_compile"),
        undecided=suspicion.undecided,
    )


def _of_debian(case: Case) -> list[Fix]:
    """Offer the headers of this very Python: python3-dev is only for the system's own."""
    parts = (case.machine.python.value or "").split(".")
    name = f"python{'.'.join(parts[:2])}-dev" if parts[1:] else "python3-dev"
    own = "" if parts[1:] else "; for another Python than the system's it is python3.X-dev"
    why = f"it holds Python.h{own}; distributions other than Debian's kin call it python3-devel"
    return [system_package(name, f"apt-get install {name}", why, verify=NAME)]


RULE = rule(NAME, __doc__, find)
