"""Code asks for a triton name that this triton does not have.

## What it finds
A bitsandbytes, or any other installed package, that uses a triton module or function that was moved
or removed.

## Why it hurts
Importing it, or compiling its kernels, fails with a missing module or attribute.

## How we know
The names that bitsandbytes uses, and those of each triton release, are read from the released
files; what other packages use from their installed files. Code that looks first is not accused.

## Fix
Install a release of the package made for this triton, or another layer in place of SwitchBack.
triton itself is required by torch in exactly one release.

## When to ignore
If what asks for the name is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.rules.case import rule
from qdoctor.rules.missing_names import missing_names
from qdoctor.rules.of_names import missing
from qdoctor.rules.of_text import of_texts
from qdoctor.rules.triton_name_in_text import internal_in_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Finding
    from qdoctor.rules.case import Case

NAME = "triton-api-moved-other"

_NAMES = missing_names(NAME, __doc__)
_OF_TEXTS = of_texts(NAME, __doc__, severity="note")


def find(case: Case) -> Iterator[Finding]:
    """Report names that are gone, members of triton's classes, keywords, and triton's own slips."""
    yield from _NAMES.find(case)
    yield from internal_in_text(case)
    yield from missing(case, NAME, "note")
    yield from _OF_TEXTS.find(case)


RULE = rule(NAME, __doc__, find)
