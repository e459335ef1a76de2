"""A quantized model does not fit the GPU, so a part of it was placed on the CPU or the disk.

## What it finds
transformers' and accelerate's texts about modules on the CPU or the disk.

## Why it hurts
int8 and 4-bit layers run on the GPU: the model is refused.

## How we know
`device_map="auto"` fills the GPU first; what is left over is what the text complains of.

## Fix
More GPU memory or a smaller model; 4 bit instead of 8; or the rest on the CPU in 32 bit.

## When to ignore
If the device_map was written by hand: then `offload-needs-fp32-cpu-offload` is meant.
"""

from __future__ import annotations

from qdoctor.rules.of_text import of_texts

NAME = "gpu-memory-too-small"

RULE = of_texts(
    NAME, __doc__, severity="note", undecided="whether the model was to be split by its device_map"
)
