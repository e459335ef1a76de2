"""No temporary file can be written: the disk is full, or may not be written to.

## What it finds
A machine on which no temporary folder could be made for the examined interpreter or for a probe, on
which there is no room in it, and Python's own words for that.

## Why it hurts
Nothing can be told of the environment. Compilers, pip and `torch.compile` write temporary files
too, and fail with `No space left on device`, or with an error of their own that names no cause.

## How we know
What the system answered where a folder was made or a file was written, or how much room is left.

## Fix
Name a folder with room, which may be written to, in TMPDIR; or free space on the disk.

## When to ignore
Never: nothing was examined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import NO_FOLDER, Because, Finding, Fix
from qdoctor.rules.affected import needing
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.observed import what_happened
from qdoctor.rules.remedies import by_hand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "no-temporary-folder"
CODES = frozenset({"no-control-folder", NAME})
"""How the engine and the kernels call it: there was no folder at all, or no room in it."""


def find(case: Case) -> Iterator[Finding]:
    """Report that no temporary file could be written, here or where an error text comes from."""
    reason = (case.machine.facts.unread or {}).get(NO_FOLDER)
    if reason is not None:
        because = Because(reason, "making a folder for the interpreter's answer", "observed")
        yield _finding([because], needing(case, "torch_installed"))
        return
    seen = [one for one in case.observations if one.code in CODES]
    if seen:
        yield _finding([what_happened(seen[0])], sorted({one.probe for one in seen}))
        return
    for signal in case.signals_of(NAME)[:1]:
        yield _finding([quoted(signal)], [])


def _finding(because: list[Because], affects: list[str]) -> Finding:
    return Finding(
        rule=NAME,
        severity="error",
        title="no temporary file can be written: the disk is full, or may not be written to",
        because=because,
        fixes=[
            Fix(
                action="set-env",
                name="TMPDIR",
                why="it names a folder with room, which may be written to",
                verify=NAME,
            ),
            by_hand("run", "free space on the full disk (df -h, df -i)", verify=NAME),
        ],
        affects=affects,
    )


RULE = rule(NAME, __doc__, find)
