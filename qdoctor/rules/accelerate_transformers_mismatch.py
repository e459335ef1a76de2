"""accelerate and transformers are of releases that do not go together.

## What it finds
transformers (or peft) calling accelerate in a way that this release does not know, accelerate
moving a quantized model that transformers refuses to move, an accelerate older than what
transformers asks for, or a package newer than what another requires.

## Why it hurts
Loading a quantized model, or making a Trainer, fails although both packages are there.

## How we know
The traceback shows accelerate's own call, or the text names what is missing; which releases have it
was read from their wheels.

## Fix
Upgrade the older one of the two.

## When to ignore
Never: the call fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Because, Finding, Fix
from qdoctor.released import parsed
from qdoctor.rules import hub_names, misspelt
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.of_names import missing
from qdoctor.rules.of_text import of_texts
from qdoctor.rules.packages_in_text import asker, blamed
from qdoctor.rules.remedies import pip
from qdoctor.rules.requirement_in_text import in_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.version import Version

    from qdoctor.rules.case import Case, Signal

NAME = "accelerate-transformers-mismatch"
_OF_TEXTS = of_texts(NAME, __doc__, severity="note")
_PACKAGE = "accelerate"
_WANTED = ("accelerate", "accelerate2", "accelerate3", "accelerate4")
"""The groups of signatures that hold the release that a text asks for."""
_NAME_MISSING = "hf-name-missing"
"""The row of signatures for names that the table of names does not know."""


def find(case: Case) -> Iterator[Finding]:
    """Report releases of accelerate and transformers that refuse each other."""
    yield from _OF_TEXTS.find(case)
    yield from in_texts(case, NAME)
    known = list(missing(case, NAME, "note"))
    yield from known
    for signal in case.signals_of(NAME):
        if wanted := asked_of_accelerate(signal):
            yield from _too_old(case, signal, wanted)
        if signal.signature != _NAME_MISSING or known or hub_names.knows(case, signal):
            continue
        if misspelt.meant(case, signal) is None:
            yield _of_other_times(case, signal)


def _of_other_times(case: Case, signal: Signal) -> Finding:
    """Say of a name that one package asks of another in vain that they are of different times."""
    package, name = hub_names.missed(signal)
    package = package.partition(".")[0]
    caller = blamed(case, signal, "") if asker(signal, "") else None
    version = case.machine.package(package).value or "of this release"
    why = f"where {name} is new, a newer {package} has it"
    gone = f"where {name} is gone, a newer one no longer asks for it"
    newer = [pip("upgrade", caller, "", gone, verify=NAME)] if caller else []
    return Finding(
        rule=NAME,
        severity="note",
        title=f"{package} {version} does not have {name}, which {caller or 'another package'} asks",
        because=[quoted(signal)],
        fixes=[
            pip("upgrade", package, "", why, verify=NAME),
            *newer,
            Fix(action="restart-kernel", why="a process sees new packages from its start on"),
        ],
        undecided=f"whether {name} is new in {package} or gone",
    )


def asked_of_accelerate(signal: Signal) -> Version | None:
    """Return the release of accelerate that a text asks for; None where it names none."""
    return parsed(next((signal.said[one] for one in _WANTED if one in signal.said), None))


def _too_old(case: Case, signal: Signal, wanted: Version) -> Iterator[Finding]:
    known = case.machine.package(_PACKAGE)
    installed = parsed(known.value)
    if installed is not None and installed >= wanted:
        return  # then the check is misleading
    absent = known.value == ""
    why = f"transformers asks for accelerate {wanted} or newer"
    read = known.because or Because(known.reason, "facts: packages", "inspected")
    fix: Fix = pip("install" if absent else "upgrade", _PACKAGE, f">={wanted}", why, verify=NAME)
    yield Finding(
        rule=NAME,
        severity="note",
        title=why + (", and there is none" if absent else ""),
        because=[quoted(signal), read],
        fixes=[fix, Fix(action="restart-kernel", why="a notebook sees new packages after that")],
        undecided=None if absent or installed else "which accelerate is installed",
    )


RULE = rule(NAME, __doc__, find)
