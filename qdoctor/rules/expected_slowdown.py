"""Slower by design: quantized weights are unpacked, or another kernel stands in.

## What it finds
A text by which a library itself says that a quantized model will run slower than it could.

## Why it hurts
Time only: what is computed is right.

## How we know
The library's own words, and the file that prints them.

## Fix
None is needed. Where another setting or data type makes it faster, it is named.

## When to ignore
If memory, not time, is what quantization is used for.
"""

from __future__ import annotations

from qdoctor.rules.of_text import of_texts

NAME = "expected-slowdown"

RULE = of_texts(NAME, __doc__, severity="note", harmless=True)
