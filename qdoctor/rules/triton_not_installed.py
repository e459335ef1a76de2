"""A program asks for triton, and it is not installed.

## What it finds
A text in which torch's compiler, or another program, finds no triton that works.

## Why it hurts
`torch.compile` for a GPU compiles through triton; without it the first call fails. Eager code keeps
working.

## How we know
The text says so. torch brings triton along on Linux only, for the Python versions that it names.

## Fix
On Linux install the triton that this torch requires, on Windows the build triton-windows of the
same release; elsewhere there is none: leave `torch.compile` out.

## When to ignore
If the program goes on without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Finding
from qdoctor.released import fact, parsed
from qdoctor.rules.case import accused, rule
from qdoctor.rules.of_text import answer_to
from qdoctor.rules.remedies import by_hand, pip
from qdoctor.rules.triton_missing_for_python import TO_INSTALL, left_out
from qdoctor.rules.triton_releases import WINDOWS, distribution, of_windows, pinned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "triton-not-installed"
_STATED = ("triton", "pytorch-triton", WINDOWS)
_HARMLESS = "harmless-warning"
_NOTED = "triton-noted"
"""The row of signatures for a message whose exception was caught: it is an answer of its own."""


def find(case: Case) -> Iterator[Finding]:
    """Report that triton is missing, where a text says so and no other reason is known."""
    told = accused(case, NAME, "which triton the program finds is not known")
    elsewhere = case.machine.os.value in {None, "linux"}
    texts = [
        one
        for one in case.signals_of(NAME)
        if not (elsewhere and one.signature == TO_INSTALL)
        and not (one.signature == _NOTED and answer_to(case, _HARMLESS, one))
    ]
    if told is None or not texts or left_out(case):
        return
    there = any((case.machine.facts.packages or {}).get(name) for name in _STATED)
    yield Finding(
        rule=NAME,
        severity="note",
        title="triton is installed, and the program does not find one that works"
        if there
        else "triton is not installed",
        because=told.because,
        fixes=_fixes(case, there=there, asked=any(one.signature == TO_INSTALL for one in texts)),
        undecided=told.undecided if there else None,
    )


def _fixes(case: Case, *, there: bool, asked: bool) -> list[Fix]:
    off = by_hand("disable", "without torch.compile torch's own kernels run", verify=NAME)
    if case.machine.os.value in case.matrix.table("systems")["rows"]:
        why = "leave triton out of what is installed: no release has a wheel for this system"
        return [by_hand("change-code", why, verify=NAME), off] if asked else [off]
    why = "torch.compile needs it" + (" in the release that torch is made for" if there else "")
    package = distribution(case.machine)
    return [pip("install", package, _spec(case, package), why, verify=NAME), off]


def _spec(case: Case, package: str) -> str:
    """Return the triton that this torch is made for; "" where torch is not known."""
    version = parsed(case.machine.torch.value)
    known = fact(case.matrix, "torch", version.base_version, "triton_pin") if version else None
    pin = pinned(known.value) if known else None
    if package == WINDOWS and pin:
        return of_windows(pin)
    return str(known.value) if known and pin else ""


RULE = rule(NAME, __doc__, find)
