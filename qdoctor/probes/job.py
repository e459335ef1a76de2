"""One step on its way to an answer: by which route, and what to do where the answer is none.

A forked child that crashed, hung or gave no answer is no proof against a kernel: a fresh
interpreter is asked, and its answer counts. What ran out of memory beside others, or found the GPU
taken (in EXCLUSIVE_PROCESS mode by one of them), is asked alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from qdoctor.probes.links import UNFIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.model import Observation
    from qdoctor.probes.plan import Step
    from qdoctor.process import Ended

Route: TypeAlias = Literal["light", "forked", "fresh"]

_DOUBTFUL = {"no-answer", "unreadable-answer"}
_CROWDED = {
    "out-of-memory": "ran out of memory beside others: this is alone",
    "gpu-busy": "found the GPU taken while others of these ran: this is alone",
}
"""What may be so because of the probes beside it, and what is said where it is asked alone."""


class Job:
    """One step on its way: how it is to run, and what became of it."""

    def __init__(self, step: Step, route: Route, said: Sequence[str] = ()) -> None:
        """``said`` is what its observations are to say about how it ran."""
        self.step, self.route, self.said = step, route, tuple(said)
        self.alone = False
        self.first: list[
            Observation
        ] = []  # what it answered beside others, where it is asked alone
        self.seen: list[Observation] | None = None
        self.parts: list[Job] = []

    def observations(self) -> list[Observation]:
        """What was seen, of the job or of those that took its place."""
        if self.parts:
            return [one for part in self.parts for one in part.observations()]
        return self.seen or []


def begin(step: Step) -> Job:
    """By which route a step is tried first."""
    return Job(step, "forked" if step.kernel.header.imports else "light")


def again(job: Job, seen: Sequence[Observation], ended: Ended, *, beside: bool) -> list[Job]:
    """The jobs that take the place of one whose answer proves nothing; none where it counts."""
    step = job.step
    bad = next((one for one in seen if _ended_badly(one)), None)
    crashed = bad is not None and bad.outcome == "crashed"
    if crashed and len(step.sms) > 1:  # for one SM: that says nothing about the others
        return [
            Job(msgspec.structs.replace(step, sms=(sm,)), _own(job), job.said) for sm in step.sms
        ]
    if job.route == "forked" and ended.returncode == UNFIT:
        why = "the driver answered otherwise than it had before CUDA was started"
        return [Job(step, "fresh", [*job.said, fresh_because(why)])]
    if job.route == "forked" and bad is not None:
        why = f"forked from a process that had imported for all, it {bad.detail or bad.outcome}"
        return [Job(step, "fresh", [*job.said, fresh_because(why)])]
    crowded = next((one.code for one in seen if one.code in _CROWDED), None)
    if crowded is not None and beside and not job.alone:
        alone = Job(step, _own(job), [*job.said, _CROWDED[crowded]])
        alone.alone, alone.first = True, list(seen)
        return [alone]
    return []


def found_no_room(job: Job, waiting: Sequence[Job]) -> list[Job]:
    """Those who wait to be alone on the GPU, and need no less of it than one that got too little.

    Their first answer counts: on a full GPU, or one that another program has to itself, each would
    cost an interpreter's start for nothing.
    """
    step = job.step
    codes = {one.code for one in job.seen or ()} & set(_CROWDED)
    if not (job.alone and codes) or step.device is None:
        return []
    need = 0 if "gpu-busy" in codes else step.kernel.header.gpu_mib
    return [
        other
        for other in waiting
        if other.alone
        and other.step.device == step.device
        and other.step.kernel.header.gpu_mib >= need
    ]


def unseen(jobs: Sequence[Job]) -> list[Job]:
    """Those of the jobs, or of what took their places, of which nothing was seen."""
    return [
        one
        for job in jobs
        for one in (unseen(job.parts) if job.parts else [job] if job.seen is None else [])
    ]


def _own(job: Job) -> Route:
    return "fresh" if job.route == "forked" else job.route


def _ended_badly(seen: Observation) -> bool:
    return seen.outcome in {"crashed", "timed-out"} or seen.code in _DOUBTFUL


def fresh_because(why: str) -> str:
    """What an observation says of how it was made, where that is not the usual way."""
    return f"ran in a fresh interpreter: {why}"
