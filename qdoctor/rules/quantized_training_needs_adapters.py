"""A purely quantized model is to be trained: adapters are missing.

## What it finds
The text by which transformers' Trainer refuses a quantized model without adapters.

## Why it hurts
Quantized weights have no gradients; training does not begin.

## How we know
The check was read: it looks for peft's adapters on the model.

## Fix
Attach adapters (`get_peft_model`) before the Trainer is made, and do not merge them before.

## When to ignore
Never: training does not begin.
"""

from __future__ import annotations

from qdoctor.rules.of_text import of_texts

NAME = "quantized-training-needs-adapters"

RULE = of_texts(
    NAME, __doc__, severity="note", undecided="whether adapters are attached, and by which peft"
)
