"""The adapters come from a project's own copy of peft, which transformers does not recognize.

## What it finds
The Trainer's text about purely quantized models where no released peft is named beside transformers
and bitsandbytes, or where the traceback passes a copy of peft inside a project.

## Why it hurts
Adapters are attached, and the Trainer refuses the model all the same.

## How we know
The check was read: it recognizes adapters by the class of the installed peft.

## Fix
A transformers from the time of the copy, which does not ask; or the released peft.

## When to ignore
Never: training does not begin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Because
from qdoctor.rules.case import rule
from qdoctor.rules.of_text import answer_to, answered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Finding
    from qdoctor.rules.case import Case

NAME = "peft-fork-incompatible"
_STATED = ("transformers", "bitsandbytes")
_NO_PEFT = "transformers and bitsandbytes are stated, and no peft beside them"


def find(case: Case) -> Iterator[Finding]:
    """Report the Trainer's refusal where the released peft is not in use."""
    stated = case.machine.facts.packages or {}
    if stated.get("peft") or not all(stated.get(name) for name in _STATED):
        return
    for signal in case.signals_of(NAME):
        if row := answer_to(case, NAME, signal):
            because = Because(_NO_PEFT, "facts: packages", "inspected")
            yield answered(case, NAME, "note", signal, row, None, because)


RULE = rule(NAME, __doc__, find)
