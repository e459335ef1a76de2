"""torch is not installed here.

## What it finds
An environment that is known not to have torch: this one, or the one in which pip builds a package
from its sources.

## Why it hurts
Every quantization backend that is judged here is built on torch.

## How we know
The environment's packages are listed from their metadata.

## Fix
Install torch; `qdoctor check torch==... --gpu ...` examines a choice before it is installed.

## When to ignore
If this is not the environment that is to be examined: name the other one with `--python`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import torch_installed
from qdoctor.model import Finding, Fix
from qdoctor.rules.affected import needing
from qdoctor.rules.case import quoted, rule, suspect
from qdoctor.rules.of_text import of_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "torch-not-installed"
_OF_TEXTS = of_texts(NAME, __doc__, severity="note")


def find(case: Case) -> Iterator[Finding]:
    """Report an environment without torch."""
    told = list(_OF_TEXTS.find(case))
    yield from told
    if told:
        return
    suspicion = suspect(case, NAME, case.ask(torch_installed))
    if suspicion is None:
        yield from _elsewhere(case)
        return
    fix = Fix(
        action="install",
        package="torch",
        why="every backend needs it",
        command="python -m pip install torch",
        verify=NAME,
    )
    yield Finding(
        rule=NAME,
        severity="note",
        title="torch is not installed in this environment",
        because=suspicion.because,
        fixes=[fix],
        affects=needing(case, "torch_installed"),
        undecided=suspicion.undecided,
    )


def _elsewhere(case: Case) -> Iterator[Finding]:
    """Report a text that misses a torch that is installed: another Python runs the program."""
    texts = case.signals_of(NAME)
    if not texts:
        return
    why = "the program runs in another Python than the one that torch is installed in: "
    run = "start it with that Python (python -m ...), or choose its kernel in the notebook"
    here = "python -m pip install torch, with the very Python that runs the program"
    yield Finding(
        rule=NAME,
        severity="note",
        title="torch is installed, and the program runs where it is not",
        because=[*map(quoted, texts[:1]), *case.ask(torch_installed).because[:1]],
        fixes=[
            Fix(action="use-python", why=why + run, verify=NAME),
            Fix(action="install", package="torch", why=here, verify=NAME),
        ],
        undecided="which Python runs the program",
    )


RULE = rule(NAME, __doc__, find, symptom_of=("interpreter-broken",))
