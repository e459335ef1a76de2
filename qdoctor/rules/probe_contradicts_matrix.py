"""What a kernel did here is not what the compatibility data says it should do.

## What it finds
A probe that failed, crashed or computed wrong numbers where all known facts say it should pass; one
that passed where it should fail; a fact read on this machine that the data has otherwise.

## Why it hurts
Either something is broken here that no fact shows, or the data is wrong. In the first case
whatever uses this kernel fails as well, or silently computes nonsense.

## How we know
The kernel ran here, in a process of its own, and its result was compared with a reference of higher
precision. What ran here outranks what was read.

## Fix
Reinstall the package that the kernel comes from and run the probe again; if it stays, report it
with `qdoctor facts`, so that the data can be put right. Where the same probe passes on another GPU
of the same model, it is the board that has to be looked at.

## When to ignore
If the probe passed against expectation: it is good news, and a gap in the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.answered import ended_importing
from qdoctor.model import Finding
from qdoctor.rules.affected import resting_on
from qdoctor.rules.case import rule
from qdoctor.rules.observed import named, went_wrong, what_happened
from qdoctor.rules.remedies import by_hand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.implied_packages import Contradiction
    from qdoctor.model import Fix, Observation
    from qdoctor.rules.case import Case

NAME = "probe-contradicts-matrix"
OWN_RULE = (
    *("silent-slow-path", "library-missing", "wrong-major"),
    *("no-c-compiler", "python-headers-missing", "libcuda-not-found"),
    *("ptxas-too-old-for-sm", "triton-cache-not-writable"),
    *("driver-broken", "driver-mismatch", "compat-not-supported", "fabric-not-ready"),
    *("jit-compiler-missing", "no-control-folder", "no-temporary-folder"),
)
"""Codes of failures that a rule of their own explains."""


def find(case: Case) -> Iterator[Finding]:
    """Report every observation, and every fact read here, that is not what was expected."""
    yield from (_disagreed(one) for one in case.machine.contradictions)
    for seen in case.observations:
        if seen.code in OWN_RULE or ended_importing(seen):
            continue
        if seen.expected == "pass" and went_wrong(seen):
            yield _failed(case, seen)
        elif seen.expected == "fail" and seen.outcome == "passed":
            yield _passed(seen)


def _failed(case: Case, seen: Observation) -> Finding:
    healthy = [one for one in case.beside if _same(one, seen) and one.outcome == "passed"]
    return Finding(
        rule=NAME,
        severity="error",
        title=f"the probe {named(seen)} should pass here, but: {seen.outcome}",
        because=[what_happened(seen), *map(what_happened, healthy[:1])],
        fixes=[_about_the_board(seen) if healthy else _about_software(seen)],
        affects=[seen.probe, *resting_on(case, seen)],
    )


def _same(one: Observation, seen: Observation) -> bool:
    return (one.probe, one.variant) == (seen.probe, seen.variant)


def _about_software(seen: Observation) -> Fix:
    return by_hand("reinstall", "an installation is damaged more often", verify=seen.probe)


def _about_the_board(seen: Observation) -> Fix:
    why = (
        "the same software passes on another GPU of this model: test this one (its ECC errors are "
        "in `nvidia-smi -q`, its Xid errors in the kernel's log), or keep it out of "
        "CUDA_VISIBLE_DEVICES"
    )
    return by_hand("change-hardware", why, verify=seen.probe)


def _disagreed(one: Contradiction) -> Finding:
    title = f"{one.subject} is not what the compatibility data says; what was read here counts"
    return Finding(rule=NAME, severity="note", title=title, because=[one.kept, one.dropped])


def _passed(seen: Observation) -> Finding:
    title = f"the probe {named(seen)} passed, although the data says that it cannot"
    return Finding(rule=NAME, severity="note", title=title, because=[what_happened(seen)])


RULE = rule(
    NAME,
    __doc__,
    find,
    symptom_of=("driver-too-old", "torch-no-sm-binary", "driver-dropped-gpu", "glibc-too-old"),
)
