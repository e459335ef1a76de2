"""A package asks for a name that torch does not have any more.

## What it finds
An error text that names what was removed from torch (`No module named 'torch._six'`), beside a
torch from which it is gone.

## Why it hurts
The package calls what is not there: importing it or its first call fails.

## How we know
When a name went from torch is read from the wheels of its releases.

## Fix
Install a newer release of the package that asks, which the traceback names; else an older torch,
with everything built against torch.

## When to ignore
If the package is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.rules.case import rule
from qdoctor.rules.of_text import of_texts
from qdoctor.rules.torch_names import finding, told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Finding
    from qdoctor.rules.case import Case

NAME = "torch-name-removed"


def find(case: Case) -> Iterator[Finding]:
    """Report names that are gone from torch."""
    for signal, known, state in told(case, NAME):
        if state == "too-new" or (state == "present" and known.came is None):
            yield finding(case, NAME, signal, known, state)
    yield from _OF_TEXTS.find(case)


_OF_TEXTS = of_texts(NAME, __doc__, severity="warning")
RULE = rule(NAME, __doc__, find)
