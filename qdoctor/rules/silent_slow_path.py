"""A quantized kernel gave right numbers, but by another path than the one it is for.

## What it finds
An int8 product that silently ran in 32-bit floats, or a library that was asked for one algorithm
and took another.

## Why it hurts
The results are right, so nothing complains, while the speed and the memory that quantization is for
are lost.

## How we know
The probe looks at the path that was taken, not only at the numbers: at the native functions that
were called, the instructions that were compiled, or at sums that the other path could not have got
right. Where the data says that a release takes the slow path by design (bitsandbytes' int8 with a
depth that is no multiple of 4), it is not reported.

## Fix
Use a shape that the fast path takes, or another backend: the verdicts say which are faster here.

## When to ignore
If only the size of the stored weights matters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Finding, Fix
from qdoctor.rules.affected import resting_on, stands_up
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.observed import named, what_happened
from qdoctor.rules.packages_in_text import blamed
from qdoctor.rules.remedies import by_hand, use

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case, Signal

NAME = "silent-slow-path"
_OWNERS = ("owner", "owner2", "owner3")


def find(case: Case) -> Iterator[Finding]:
    """Report observations that prove a number by another path than the data says."""
    for seen in case.observations:
        if seen.code != NAME or seen.expected == "fail":
            continue
        path = f": {seen.path_taken}" if seen.path_taken else ""
        why = "it promises nothing that this machine does not keep"
        yield Finding(
            rule=NAME,
            severity="warning",
            title=f"{named(seen)} silently took a slow path{path}",
            because=[what_happened(seen)],
            fixes=[use("half", why, verify="half_gemm")] if stands_up(case, "half") else [],
            affects=[seen.probe, *resting_on(case, seen)],
        )
    for signal in case.signals_of(NAME)[:1]:
        yield _by_its_text(case, signal)


def _told(signal: Signal) -> str | None:
    """Return the package that the text itself names, as it is installed."""
    named = next((signal.said[one] for one in _OWNERS if one in signal.said), None)
    return named.replace("_", "-") if named else None


def _by_its_text(case: Case, signal: Signal) -> Finding:
    """Report a package that says itself that its fast kernels are not there."""
    package = _told(signal) or blamed(case, signal, "torch")
    whose = package or "the package"
    return Finding(
        rule=NAME,
        severity="warning",
        title=f"{whose} runs without its compiled kernels, slowly",
        because=[quoted(signal)],
        fixes=[
            Fix(
                action="reinstall",
                package=package,
                why=f"a wheel of {whose} for this torch and CUDA version brings the kernels along",
                verify=NAME,
            ),
            by_hand("rebuild", "from source, with nvcc of the CUDA version of torch", verify=NAME),
        ],
    )


RULE = rule(NAME, __doc__, find)
