"""A custom architecture fails while it is loaded quantized: not covered yet.

## What it finds
An error text of the step that looks for modules to leave unquantized: it copies the whole model,
which some custom architectures do not survive.

## Why it hurts
The model loads in half precision but not in 8 or 4 bit.

## How we know
The text is known from public reports. What in the model causes it is not examined yet: an audit of
models is not part of this version.

## Fix
Name the modules to leave unquantized (`llm_int8_skip_modules`): the search, and with it the copy,
is then left out.

## When to ignore
Never, if the model is to be quantized.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Finding
from qdoctor.rules.case import accused, rule
from qdoctor.rules.remedies import by_hand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "custom-arch-deepcopy"
_OPEN = "which modules of the model must stay unquantized: auditing models is not covered yet"
_WHAT = "pass llm_int8_skip_modules in BitsAndBytesConfig: then nothing is copied to find them"


def find(case: Case) -> Iterator[Finding]:
    """Say what an error text means, and what this version cannot look into."""
    suspicion = accused(case, NAME, _OPEN)
    if suspicion is None:
        return
    yield Finding(
        rule=NAME,
        severity="note",
        title="a custom architecture fails while it is copied (auditing models is not covered yet)",
        because=suspicion.because,
        fixes=[by_hand("change-code", _WHAT)],
        undecided=suspicion.undecided,
    )


RULE = rule(NAME, __doc__, find, covered=False)
