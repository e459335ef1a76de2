"""A program asks for triton, and it is not installed.

## What it finds
A text in which torch's compiler, or another program, finds no triton that works, where torch brings
one along, or some triton is installed. Where torch brings none: `triton-missing-for-python`.

## Why it hurts
`torch.compile` for a GPU compiles through triton; without it the first call fails. Eager code keeps
working.

## How we know
The text says so. torch brings triton along on Linux only, for the Python versions that it names.

## Fix
Install the triton that this torch requires; on Windows the build triton-windows of the same
release.

## When to ignore
If the program goes on without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.rules.case import rule
from qdoctor.rules.triton_absent import absent, brought_along

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Finding
    from qdoctor.rules.case import Case

NAME = "triton-not-installed"


def find(case: Case) -> Iterator[Finding]:
    """Report that triton is missing, or does not work, though torch brings one along here."""
    if brought_along(case):
        yield from absent(case, NAME)


RULE = rule(NAME, __doc__, find)
