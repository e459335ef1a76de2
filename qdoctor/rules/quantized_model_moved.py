"""A quantized model, or a part of it, is moved or cast in a way that is not supported.

## What it finds
The texts by which transformers, diffusers, accelerate and bitsandbytes refuse `.to()`, `.cuda()`,
`.half()` and offloading of quantized modules.

## Why it hurts
Quantized weights are packed, and their scales belong to them: moving or casting the parts breaks
them, so the libraries refuse.

## How we know
The checks that print the texts were read. Where accelerate's own call is what moves the model, it
is `accelerate-transformers-mismatch`.

## Fix
Place the model when it is loaded (`device_map`), leave out the calls, offload whole modules
(`enable_model_cpu_offload`).

## When to ignore
Where the text is a warning and the module stays where it should be.
"""

from __future__ import annotations

from qdoctor.rules.of_text import of_texts

NAME = "quantized-model-moved"

RULE = of_texts(NAME, __doc__, severity="note", undecided="which device each module is on")
