"""Adapters are to be merged into quantized weights, which the installed peft does not do.

## What it finds
peft's text `Cannot merge LORA layers when the model is loaded in 8-bit mode`, and its kin for
4 bit, IA3 and GPTQ models.

## Why it hurts
`merge_and_unload()` fails.

## How we know
The check was read in the releases that have it: up to peft 0.5.0 for LoRA, in all for IA3 and GPTQ.

## Fix
Load the base model unquantized, merge, save, and quantize the result; or, for LoRA, upgrade peft.

## When to ignore
If the adapter can stay beside the base model: nothing needs to be merged to run it.
"""

from __future__ import annotations

from qdoctor.rules.of_text import of_texts

NAME = "peft-merge-quantized"

RULE = of_texts(NAME, __doc__, severity="note")
