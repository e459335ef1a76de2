"""A custom architecture cannot be copied, which transformers does while it loads quantized.

## What it finds
A traceback that ends in the search for modules to leave unquantized: it copies the whole model,
which some custom architectures do not survive.

## Why it hurts
The model loads in half precision but not in 8 or 4 bit.

## How we know
The search was read: `get_keys_to_not_convert` calls `deepcopy(model)`, and only where
`llm_int8_skip_modules` is not given.

## Fix
Name the modules to leave unquantized (`llm_int8_skip_modules`): the search, and with it the copy,
is then left out.

## When to ignore
Never, if the model is to be quantized.
"""

from __future__ import annotations

from qdoctor.rules.of_text import of_texts

NAME = "custom-arch-deepcopy"

RULE = of_texts(NAME, __doc__, severity="note")
