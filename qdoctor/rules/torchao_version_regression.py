"""This torchao release computes something wrongly, or not at all, without an error.

## What it finds
Releases of torchao of which it is known that a call does nothing, or gives wrong results, and says
nothing.

## Why it hurts
Training takes the time and memory of the unquantized model, and whoever measures it measures half
precision.

## How we know
The released files show it, and releases were run: which matrix product the layer called, and
whether its output changed (table `known_bad`).

## Fix
Ask for the way that works in this release; a backend of qdoctor does so by itself.

## When to ignore
If nothing here makes that call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import torchao_fits_torch
from qdoctor.rules.case import rule
from qdoctor.rules.wrong_results import findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Finding
    from qdoctor.rules.case import Case

NAME = "torchao-version-regression"


def find(case: Case) -> Iterator[Finding]:
    """Report what the installed torchao silently does not do."""
    return findings(case, NAME, "torchao", (torchao_fits_torch,))


RULE = rule(NAME, __doc__, find, aside=True)
