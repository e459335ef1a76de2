"""TRITON_INTERPRET is set: Triton kernels run in an interpreter on the CPU, not on the GPU.

## What it finds
The environment variable TRITON_INTERPRET with a value that triton takes for yes.

## Why it hurts
It is meant for debugging. Kernels are thousands of times slower, code that compiles them fails with
`'InterpretedFunction' object has no attribute …`, and bf16 products are silently inexact.

## How we know
The variable is read from the environment; what triton takes for yes from its released files.

## Fix
Unset the variable where it is set: a shell profile, a container, a launch script.

## When to ignore
While debugging a kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Because, Finding
from qdoctor.rules.case import accused, rule
from qdoctor.rules.remedies import unset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "triton-interpret-set"
VARIABLE = "TRITON_INTERPRET"


def find(case: Case) -> Iterator[Finding]:
    """Report a triton that is told to interpret."""
    env = case.machine.facts.env
    told = accused(case, NAME, "the environment's variables are not known")
    texts = told.because if told else []
    if env is None:
        if told:
            yield _finding(texts, told.undecided)
        return
    value = env.get(VARIABLE)
    meaning_yes = case.matrix.table("triton_names")["meaning_yes"]
    if value is None or value.strip().lower() not in meaning_yes:
        return
    text = f"{VARIABLE} is {value!r}, so triton interprets kernels on the CPU"
    read = Because(text, f"facts: env.{VARIABLE}", "inspected")
    if case.machine.installed("triton") != "no":
        yield _finding([read, *texts], None)


def _finding(because: list[Because], undecided: str | None) -> Finding:
    return Finding(
        rule=NAME,
        severity="warning",
        title=f"{VARIABLE} is set: Triton kernels are interpreted on the CPU",
        because=because,
        fixes=[unset(VARIABLE, "triton then compiles kernels for the GPU again", verify=NAME)],
        affects=["qdoctor-switchback", "bnb-switchback", "torch.compile"],
        undecided=undecided,
    )


RULE = rule(NAME, __doc__, find)
