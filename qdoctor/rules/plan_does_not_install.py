"""An installer would refuse the planned packages.

## What it finds
Planned releases without a wheel for the Python, the platform or the C library that is asked about,
planned releases whose requirements contradict each other, and texts in which pip, uv or conda says
so.

## Why it hurts
`pip install` ends in `No matching distribution found` or `ResolutionImpossible`, or builds from
source. Forced in one after the other (or with `--no-deps`) contradicting releases install with a
warning, and fail when they are used.

## How we know
The tags of the wheels and the requirements of each release are read from the released files.

## Fix
The nearest release that has a wheel there, or the release that the other planned ones require. To
keep a pin that they refuse, change them instead.

## When to ignore
If you build the package from source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Because, Finding
from qdoctor.rules.case import rule
from qdoctor.rules.installer_refusals import refusals
from qdoctor.rules.of_text import of_texts
from qdoctor.rules.remedies import pip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix
    from qdoctor.plan import Problem
    from qdoctor.rules.case import Case

NAME = "plan-does-not-install"
_OF_TEXTS = of_texts(NAME, __doc__, severity="error")


def find(case: Case) -> Iterator[Finding]:
    """Report each reason why an installer would refuse the plan."""
    for problem in case.refused:
        said = Because(problem.text, "the matrix's wheels and their METADATA", "mined")
        yield Finding(
            rule=NAME,
            severity="error",
            title=f"the plan would not install: {problem.text}",
            because=list(problem.because) or [said],
            fixes=_fixes(problem),
        )
    yield from refusals(case, NAME)
    yield from _OF_TEXTS.find(case)


def _fixes(problem: Problem) -> list[Fix]:
    if problem.spec is None:
        return []
    return [pip("use", problem.package, problem.spec, problem.why, verify=NAME)]


RULE = rule(NAME, __doc__, find)
