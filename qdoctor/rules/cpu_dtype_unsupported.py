"""An operation has no CPU kernel for this data type.

## What it finds
torch's text `"..." not implemented for 'Half'` (or bfloat16, float8) of a kernel for the CPU.

## Why it hurts
The model fails at its first such layer: half precision checkpoints are made for GPUs.

## How we know
The text names the kernel; those of CUDA carry it in their name and are left out.

## Fix
float32 or bfloat16 on the CPU, or the GPU. Where torch is a CPU build beside a GPU, that is the
cause.

## When to ignore
Never: the operation fails.
"""

from __future__ import annotations

from qdoctor.rules.of_text import of_texts

NAME = "cpu-dtype-unsupported"

RULE = of_texts(NAME, __doc__, severity="note", symptom_of=("torch-cpu-only",))
