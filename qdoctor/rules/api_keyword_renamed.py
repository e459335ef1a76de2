"""A keyword or a function that the installed release does not have: renamed, moved, or never there.

## What it finds
A call with a keyword that this release of transformers, trl or peft does not take (`load_in_8bit`,
`attn_implementation`, `tokenizer` ...), or a function that was renamed.

## Why it hurts
The call fails with `got an unexpected keyword argument`; guides and even the libraries' own
messages name keywords of other releases.

## How we know
The releases that take the keyword were read from their wheels. The installed release decides; where
it is not known, the class in the text may give it away, or the Python that wrote the text.

## Fix
Write what this release calls it; or take a release that has the keyword.

## When to ignore
Never: the call fails.
"""

from __future__ import annotations

from qdoctor.rules.of_names import of_names

NAME = "api-keyword-renamed"

RULE = of_names(NAME, __doc__, severity="note")
