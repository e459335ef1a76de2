"""An installed release is not in the compatibility data.

## What it finds
A torch, triton or bitsandbytes whose version the data does not hold: newer than it, a development
version, or somebody's own build.

## Why it hurts
What depends on that release is judged by what its installed files say (the SMs and glibc of its
libraries, what it requires, the CUDA version it was built for); what they do not say is unknown,
never taken to work, unless a probe shows it.

## How we know
The data names every release that was read.

## Fix
`qdoctor matrix mine --only PACKAGE==VERSION` reads the released wheel into your own data, over the
network; a newer qdoctor brings newer data; or let the probes decide (`--probe full`).

## When to ignore
If the probes passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Because, Finding, Fix
from qdoctor.released import parsed
from qdoctor.rules.case import rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "release-unknown-to-matrix"
_EXAMINED = ("torch", "triton", "bitsandbytes")


def find(case: Case) -> Iterator[Finding]:
    """Report each examined package whose version is known here but not to the matrix."""
    for package in _EXAMINED:
        version = case.machine.package(package).value
        if not version or case.matrix.matching(package, version):
            continue
        text = f"the data {case.matrix.version} does not hold {package} {version}"
        yield Finding(
            rule=NAME,
            severity="note",
            title=f"{package} {version} is unknown to the compatibility data",
            because=[Because(text, f"facts: packages.{package}", "inspected")],
            fixes=[*_learn(package, version), _newer()],
        )


def _learn(package: str, version: str) -> list[Fix]:
    """Offer to read the released wheel, where the version is one that can have been released."""
    known = parsed(version)
    if known is None or known.local or known.is_devrelease:
        return []
    command = f"python -m qdoctor matrix mine --only {package}=={known}"
    why = "reads the released wheel into your own data, over the network"
    return [Fix(action="run", package=package, why=why, command=command, verify=NAME)]


def _newer() -> Fix:
    return Fix(
        action="upgrade",
        package="qdoctor",
        why="a newer qdoctor brings newer compatibility data",
        command="python -m pip install --upgrade qdoctor",
        verify=NAME,
    )


RULE = rule(NAME, __doc__, find)
