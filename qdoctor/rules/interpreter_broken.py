"""The interpreter that was found does not start, or does not answer.

## What it finds
A Python whose start fails, hangs or prints something that is not an answer.

## Why it hurts
Nothing can be read of its packages, and nothing can run in it: all that depends on them is unknown.

## How we know
It was started with a small script of the standard library, and this is what became of it.

## Fix
Make the environment anew, or name a working interpreter with `--python`.

## When to ignore
Never, if this is the environment in question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Because, Finding
from qdoctor.rules.affected import needing
from qdoctor.rules.case import rule
from qdoctor.rules.remedies import by_hand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "interpreter-broken"
_READING = "python"
"""The key of ``Facts.unread`` that says why the interpreter gave no answer."""


def find(case: Case) -> Iterator[Finding]:
    """Report an interpreter that could not be asked."""
    reason = (case.machine.facts.unread or {}).get(_READING)
    if reason is None:
        return
    yield Finding(
        rule=NAME,
        severity="error",
        title="the interpreter does not answer, so its packages are unknown",
        because=[Because(reason, "starting the interpreter", "observed")],
        fixes=[by_hand("use-python", "name a working interpreter with --python", verify=NAME)],
        affects=needing(case, "torch_installed"),
    )


RULE = rule(NAME, __doc__, find)
