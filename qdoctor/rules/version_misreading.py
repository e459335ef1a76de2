"""CUDA version numbers that may differ: the toolkit's, torch's and the driver's.

## What it finds
A text or facts that show different CUDA versions where they may differ: nvcc's beside torch's, in
the same major version while compiling, or in any version where nothing is compiled.

## Why it hurts
It does not; but packages, toolkits and drivers are reinstalled to make the numbers equal.

## How we know
torch brings its own CUDA libraries and asks only the driver whether it serves their version, which
is judged on its own; a toolkit is used to compile extensions and for nothing else.

## Fix
None is needed.

## When to ignore
Always; while an extension is compiled, `toolkit-torch-mismatch-build` says what matters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import driver_serves_torch
from qdoctor.model import Because, Finding, Fix
from qdoctor.released import parsed
from qdoctor.rules.case import rule
from qdoctor.rules.of_text import of_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.released import Known
    from qdoctor.rules.case import Case

NAME = "version-misreading"
_OF_TEXTS = of_texts(NAME, __doc__, severity="note", harmless=True)
_WHY = "nothing to fix: torch runs on its own CUDA libraries; a toolkit only compiles extensions"


def find(case: Case) -> Iterator[Finding]:
    """Say that a text's or the machine's CUDA versions need not be equal."""
    yield from _OF_TEXTS.find(case)
    toolkit, cuda = case.machine.facts.toolkit_cuda, case.machine.torch_cuda
    if case.machine.torch.value is None and not cuda.value and not case.signals:
        installed = any((case.machine.facts.packages or {}).values())
        yield from _alone(toolkit, None if installed else case.machine.driver_cuda)
    if not cuda.value or not cuda.because or not _differ(toolkit, cuda.value):
        return
    if case.ask(driver_serves_torch).value == "no":
        return
    read = Because(f"the toolkit is CUDA {toolkit}", "facts: toolkit_cuda", "inspected")
    yield Finding(
        rule=NAME,
        severity="note",
        title=f"the toolkit is CUDA {toolkit}, torch brings CUDA {cuda.value}: they need not agree",
        because=[read, cuda.because],
        fixes=[Fix(action="none", why=_WHY)],
    )


def _alone(toolkit: str | None, served: Known[str] | None) -> Iterator[Finding]:
    """Say of a toolkit or a driver of which nothing else is known what its CUDA version means."""
    if toolkit:
        read = Because(f"the toolkit is CUDA {toolkit}", "facts: toolkit_cuda", "inspected")
        title = f"the toolkit is CUDA {toolkit}: torch brings its own CUDA, whatever that is"
    elif served and served.value and served.because:
        read, title = served.because, f"the driver serves every torch built for CUDA {served.value}"
        title += " or older: the two versions need not be equal"
    else:
        return
    fixes = [Fix(action="none", why=_WHY)]
    yield Finding(rule=NAME, severity="note", title=title, because=[read], fixes=fixes)


def _differ(toolkit: str | None, cuda: str) -> bool:
    one, other = parsed(toolkit), parsed(cuda)
    return one is not None and other is not None and one.release[:2] != other.release[:2]


RULE = rule(NAME, __doc__, find, harmless=True, aside=True)
