"""FlashAttention 2 does not run on this GPU's generation.

## What it finds
flash-attn's and xformers' texts that refuse a GPU below SM 8.0.

## Why it hurts
A model that asks for `flash_attention_2` fails at its first attention layer; installing flash-attn
does not help.

## How we know
The library checks the GPU's SM itself and says so; which SM it needs is in the data.

## Fix
Another attention: `attn_implementation="sdpa"` (torch's own, which runs everywhere).

## When to ignore
If the program falls back to another attention by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import Answer
from qdoctor.model import Because, Finding, Fix
from qdoctor.released import parsed
from qdoctor.rules.case import rule, suspect
from qdoctor.rules.remedies import by_hand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "flash-attn-min-sm"


def find(case: Case) -> Iterator[Finding]:
    """Report FlashAttention's refusal of a GPU; without its text nobody asks for it."""
    if not case.signals_of(NAME):
        return
    table = case.matrix.table("flash_attn")
    row = table["rows"]["2"]
    suspicion = suspect(case, NAME, _served(case, row, table["sources"][row["source"]]))
    if suspicion is None:
        return
    gpu = case.machine.gpu
    named = (gpu.name if gpu else None) or "this GPU"
    yield Finding(
        rule=NAME,
        severity="note",
        title=f"FlashAttention 2 needs SM {row['sm']}: {named} is older",
        because=suspicion.because,
        fixes=[
            Fix(action="disable", why=f"switch FlashAttention off: {row['instead']}"),
            by_hand("change-hardware", f"a GPU of SM {row['sm']} or newer", verify=NAME),
        ],
        undecided=suspicion.undecided,
    )


def _served(case: Case, row: dict[str, str], source: str) -> Answer:
    """Ask whether the GPU is of a generation that FlashAttention 2 serves."""
    known, needed = parsed(case.machine.sm.value), parsed(row["sm"])
    if known is None or needed is None:
        return Answer("unknown", case.machine.sm.reason)
    because = Because(f"FlashAttention 2 needs SM {row['sm']}", source, "documented")
    read = case.machine.sm.because
    evidence = (read, because) if read else (because,)
    return Answer("yes" if known >= needed else "no", because.text, evidence, NAME)


RULE = rule(NAME, __doc__, find)
