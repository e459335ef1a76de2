"""A quantized model is to be split over GPU and CPU, and the part on the CPU has to stay in 32 bit.

## What it finds
A device_map with `cpu` or `disk` beside int8 or 4-bit loading.

## Why it hurts
These layers do not run on the CPU in the releases that print this: the model is refused.

## How we know
The check was read: it wants `llm_int8_enable_fp32_cpu_offload` for that.

## Fix
`BitsAndBytesConfig(..., llm_int8_enable_fp32_cpu_offload=True)` and a device_map.

## When to ignore
If nothing was meant to be on the CPU: then the GPU is too small (`gpu-memory-too-small`).
"""

from __future__ import annotations

from qdoctor.rules.of_text import of_texts

NAME = "offload-needs-fp32-cpu-offload"

RULE = of_texts(
    NAME, __doc__, severity="note", undecided="whether the model was to be split by its device_map"
)
