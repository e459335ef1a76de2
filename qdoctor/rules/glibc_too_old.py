"""The system's C library is older than a package needs.

## What it finds
A glibc below the oldest that an installed package was built for.

## Why it hurts
Its libraries do not load: ``version `GLIBC_2.34' not found``.

## How we know
The versions that a library needs are read from its ELF headers, and the floor of a wheel from its
platform tag; the system says which glibc it has.

## Fix
Install a release that was built for an older glibc, where there is one; else a newer operating
system, or a container of one.

## When to ignore
Never, if the package is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import Answer, libc_new_enough
from qdoctor.model import Finding
from qdoctor.rules.affected import needing
from qdoctor.rules.bnb_releases import serving
from qdoctor.rules.case import rule, suspect
from qdoctor.rules.remedies import by_hand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "glibc-too-old"


def find(case: Case) -> Iterator[Finding]:
    """Report a C library below the floor of an installed package."""
    suspicion = suspect(case, NAME, _new_enough(case))
    if suspicion is None:
        return
    libc = case.machine.libc.value or "this system's C library"
    needed = case.said(NAME, "symbol")
    wanted = f"for what needs {needed}" if needed else "for an installed package"
    yield Finding(
        rule=NAME,
        severity="error",
        title=f"{libc} is too old {wanted}",
        because=suspicion.because,
        fixes=_fixes(case),
        affects=needing(case, "libc_new_enough"),
        undecided=suspicion.undecided,
    )


def _new_enough(case: Case) -> Answer:
    """Ask the layer; that an installer accepted a wheel refutes no error text."""
    answer, libc = case.ask(libc_new_enough), case.machine.libc
    if answer.value == "yes" and libc.value is None:
        return Answer("unknown", libc.reason)
    return answer


def _fixes(case: Case) -> list[Fix]:
    older = []
    if case.ask(libc_new_enough).value == "no":
        why = "it was built for an older C library"
        older = serving(case, [libc_new_enough], why, verify=NAME)
    return [*older, by_hand("upgrade-os", "a newer system, or a container of it, has a newer libc")]


RULE = rule(NAME, __doc__, find)
