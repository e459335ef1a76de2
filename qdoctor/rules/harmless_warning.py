"""A printed text that needs no action.

## What it finds
A warning or notice that is printed on healthy machines too: an optional part is not there, a value
is converted, something is announced.

## Why it hurts
It does not. It is often the last line before something else fails, and gets the blame.

## How we know
The file that prints the text was read: what follows it works. Where a text of a failure stands in
the same log, that one counts.

## Fix
None is needed. Where the text can be silenced cheaply, how is said.

## When to ignore
Always.
"""

from __future__ import annotations

from qdoctor.rules.of_text import of_texts

NAME = "harmless-warning"

RULE = of_texts(NAME, __doc__, severity="note", harmless=True)
