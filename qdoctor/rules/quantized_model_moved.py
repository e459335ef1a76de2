"""A quantized module was moved or offloaded: not covered yet.

## What it finds
An error text of a quantized module that is not on the device where it can run.

## Why it hurts
Quantized weights carry a state that a plain move or an offload does not take along: calls fail, or
the weights stay where they were.

## How we know
The text is known from public reports. Where each module lives, and which releases move what, is not
examined yet: an audit of models is not part of this version.

## Fix
Leave a quantized model on the device it was loaded to; offload whole models
(`enable_model_cpu_offload`) rather than layers.

## When to ignore
Never: the text means that something did not run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Finding
from qdoctor.rules.case import accused, rule
from qdoctor.rules.remedies import by_hand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "quantized-model-moved"
_OPEN = "where each quantized module lives: auditing models is not covered yet"
_WHAT = "leave quantized modules where they were loaded, or use enable_model_cpu_offload"


def find(case: Case) -> Iterator[Finding]:
    """Say what an error text means, and what this version cannot look into."""
    suspicion = accused(case, NAME, _OPEN)
    if suspicion is None:
        return
    yield Finding(
        rule=NAME,
        severity="note",
        title="a quantized module was moved or offloaded (auditing models is not covered yet)",
        because=suspicion.because,
        fixes=[by_hand("change-code", _WHAT)],
        undecided=suspicion.undecided,
    )


RULE = rule(NAME, __doc__, find, covered=False)
