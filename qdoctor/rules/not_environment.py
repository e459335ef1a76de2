"""The error comes from the program, its data or the size of the model, not from what is installed.

## What it finds
Failures that no other release, driver or build makes go away: token ids beyond the embedding, a
graph without gradients, data types or devices mixed in one product, memory that is full.

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

from qdoctor.rules.of_text import of_texts

NAME = "not-environment"

RULE = of_texts(NAME, __doc__, severity="note", harmless=True)
