"""The installed peft lacks what is called: a method, a keyword or a name of later releases.

## What it finds
A text that names something peft has in later releases only: `merge_and_unload`,
`prepare_model_for_kbit_training`, or a setting in an adapter's configuration that a newer peft
wrote (`corda_config`).

## Why it hurts
Adapters cannot be attached, loaded or merged.

## How we know
The releases that have the name were read from their wheels.

## Fix
Upgrade peft to a release that has it.

## When to ignore
Never: the call fails. For an adapter's configuration, deleting the unknown settings from
`adapter_config.json` helps too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.rules.case import rule
from qdoctor.rules.of_names import missing
from qdoctor.rules.of_text import of_texts
from qdoctor.rules.requirement_in_text import in_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Finding
    from qdoctor.rules.case import Case

NAME = "peft-too-old"
_OF_TEXTS = of_texts(NAME, __doc__, severity="note")


def find(case: Case) -> Iterator[Finding]:
    """Report what peft lacks: a name, layers for quantized modules, or the release asked for."""
    yield from in_texts(case, NAME)
    yield from missing(case, NAME, "note")
    yield from _OF_TEXTS.find(case)


RULE = rule(NAME, __doc__, find)
