"""An installed release is not in the compatibility data.

## What it finds
A torch, triton or bitsandbytes whose version the data does not hold: newer than it, a development
version, or somebody's own build.

## Why it hurts
What depends on that release is judged as unknown, never as working, unless a probe shows it.

## How we know
The data names every release that was read.

## Fix
Install a newer qdoctor, or let the probes decide (`--probe full`).

## When to ignore
If the probes passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Because, Finding, Fix
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
            fixes=[_newer()],
        )


def _newer() -> Fix:
    return Fix(
        action="upgrade",
        package="qdoctor",
        why="a newer qdoctor brings newer compatibility data",
        command="python -m pip install --upgrade qdoctor",
        verify=NAME,
    )


RULE = rule(NAME, __doc__, find)
