"""The error comes from the program, its data or the size of the model, not from what is installed.

## What it finds
Failures that no other release, driver or build makes go away: token ids beyond the embedding, a
graph without gradients, data types or devices mixed in one product, memory that is full, a name
that is misspelt.

## Why it hurts
The program ends; and packages are reinstalled in vain.

## How we know
The check that prints the text was read: it looks at the program's own tensors or memory.

## Fix
A change of the program, which is named; for memory, a smaller data type or a larger GPU.

## When to ignore
Never, but look for the cause in the program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Because, Finding
from qdoctor.rules import hub_names, misspelt
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.of_text import of_texts
from qdoctor.rules.remedies import by_hand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "not-environment"

_OF_TEXTS = of_texts(NAME, __doc__, severity="note", harmless=True)


def find(case: Case) -> Iterator[Finding]:
    """Report what texts say of the program, and names that it misspells."""
    yield from _OF_TEXTS.find(case)
    for signal in case.signals_of(NAME):
        name = misspelt.meant(case, signal)
        if name is None:
            continue
        owner, missed = hub_names.missed(signal)
        source = "the names of its releases, read from the wheels (hub_names)"
        yield Finding(
            rule=NAME,
            severity="note",
            title=f"{missed} is misspelt: {owner} has {name}",
            because=[
                quoted(signal),
                Because(f"no release of {owner.partition('.')[0]} has {missed}", source, "mined"),
            ],
            fixes=[by_hand("change-code", f"write {name}", verify=NAME)],
        )


RULE = rule(NAME, __doc__, find, harmless=True)
