"""A probe that could run here gave no answer, or failed where nothing was expected of it.

## What it finds
A probe that was stopped for time or memory, ended without an answer, or failed on a machine for
which the data cannot say what should happen.

## Why it hurts
What it was to show stays unknown, or does not work here.

## How we know
How the probe's process ended, and the end of what it wrote.

## Fix
Run it again with `--probe full`, which allows more time; a probe is a file that also runs by hand.

## When to ignore
On a machine that is busy with other work: a probe has seconds, not minutes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.answered import ended_importing, gave_no_answer
from qdoctor.model import Finding
from qdoctor.rules.affected import resting_on
from qdoctor.rules.case import rule
from qdoctor.rules.no_temporary_folder import CODES
from qdoctor.rules.observed import named, went_wrong, what_happened
from qdoctor.rules.probe_contradicts_matrix import OWN_RULE
from qdoctor.rules.remedies import by_hand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "probe-failed"
BASELINE = "half"


def find(case: Case) -> Iterator[Finding]:
    """Report probes without an answer, and failures that nothing was expected of."""
    for seen in case.observations:
        silent = gave_no_answer(seen)
        unexpected = went_wrong(seen) and seen.expected == "unknown" and seen.code not in OWN_RULE
        if (not silent and not unexpected) or seen.code in CODES or ended_importing(seen):
            continue
        what = "gave no answer" if silent else f"did not pass: {seen.outcome}"
        # Without an answer nothing is taken away: the verdicts then say that it is not known.
        lost = [] if silent else resting_on(case, seen)
        yield Finding(
            rule=NAME,
            # Without the baseline nothing built on torch works, whoever asks.
            severity="error" if unexpected and BASELINE in lost else "warning",
            title=f"the probe {named(seen)} {what}",
            because=[what_happened(seen)],
            fixes=[by_hand("run", "a second run tells chance from cause", verify=seen.probe)],
            affects=[seen.probe, *lost],
        )


RULE = rule(
    NAME,
    __doc__,
    find,
    symptom_of=("driver-too-old", "torch-no-sm-binary", "driver-dropped-gpu", "glibc-too-old"),
)
