"""Slower by design: quantized weights are unpacked, or another kernel stands in.

## What it finds
A text by which a library itself says that a quantized model will run slower than it could; or a
GPU of which nothing else is asked or known: whoever describes one alone mostly asks for its speed.

## Why it hurts
Time only: what is computed is right.

## How we know
The library's own words, and the file that prints them.

## Fix
None is needed. Where another setting or data type makes it faster, it is named.

## When to ignore
If memory, not time, is what quantization is used for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdoctor.model import Because, Finding
from qdoctor.rules.affected import stands_up
from qdoctor.rules.case import rule
from qdoctor.rules.of_text import of_texts, offered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "expected-slowdown"
_OF_TEXTS = of_texts(NAME, __doc__, severity="note", harmless=True)
_ASKED = "prose-quantized-slow"
"""The text whose answer holds for every GPU: people's own words for a slow quantized model."""
_QUANTIZED = ("bnb-int8", "bnb-nf4")


def find(case: Case) -> Iterator[Finding]:
    """Report what a text says of its speed; of a GPU alone, what quantization does there."""
    yield from _OF_TEXTS.find(case)
    facts = case.machine.facts
    described = facts.packages or facts.torch_cuda is not None or facts.native
    if case.signals or case.observations or described or not case.machine.usable_gpus:
        return
    if any(stands_up(case, one) for one in _QUANTIZED):
        yield _in_general(case)


def _in_general(case: Case) -> Finding:
    """Say of a GPU what quantized layers save there, and what they cost."""
    table = case.matrix.table("answers")
    row: dict[str, Any] = next(one for one in table["rows"] if _ASKED in one["texts"])
    source: str = table["sources"][row["source"]]
    return Finding(
        rule=NAME,
        severity="note",
        title=row["title"],
        because=[Because(row["because"], source, row["strength"])],
        fixes=[fix for one in row["fixes"] for fix in offered(case, NAME, one)],
    )


RULE = rule(NAME, __doc__, find, harmless=True, aside=True)
