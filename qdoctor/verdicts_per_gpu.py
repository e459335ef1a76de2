"""Verdicts where CUDA shows several GPUs: one list a GPU, and what holds on every one.

The verdicts of the whole are those on the first GPU, because that is the one that torch uses
unless it is told otherwise; each names the GPUs on which it is otherwise. Asking every GPU to fit
would let a small card that only drives a display take every backend away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor import selection
from qdoctor.model import Diagnosis, Finding, GpuVerdicts, Observation, Verdict
from qdoctor.several_gpus import holds_on, looks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix
    from qdoctor.model import YesNo

_OTHERWISE: dict[YesNo, str] = {"yes": "works on", "no": "not on", "unknown": "not known on"}


def judge(
    machine: Machine,
    observations: Sequence[Observation],
    findings: Sequence[Finding],
    matrix: Matrix,
) -> Diagnosis:
    """Give every backend a verdict, on the first GPU and, where there are several, on each.

    ``findings`` are those of the whole machine, as ``diagnosis.diagnose`` returns them.
    """
    each = [
        selection.judge(
            look.machine,
            look.observations,
            [one for one in findings if holds_on(one, look.machine.judged)],
            matrix,
        )
        for look in looks(machine, observations)
    ]
    if len(each) == 1:
        return Diagnosis(list(findings), each[0], selection.select(each[0], matrix))
    first = [_compared(*alike, machine=machine) for alike in zip(*each, strict=True)]
    every = selection.select(_on_every_one(each), matrix)
    gpus = [
        GpuVerdicts(
            index=position if machine.numbered else None,
            name=gpu.name,
            sm=gpu.sm,
            selected=selection.select(verdicts, matrix),
            verdicts=verdicts,
        )
        for position, (gpu, verdicts) in enumerate(zip(machine.usable_gpus, each, strict=True))
    ]
    return Diagnosis(list(findings), first, selection.select(first, matrix), gpus, every)


def _compared(first: Verdict, *others: Verdict, machine: Machine) -> Verdict:
    """Name in a verdict's reason the GPUs on which it is otherwise.

    Where it is not known which GPU is the first one, what differs between them is unknown.
    """
    if not machine.numbered and any(one.usable != first.usable for one in others):
        reason = f"it is not on every GPU the same: {(machine.facts.unread or {}).get('gpus')}"
        return Verdict(first.backend, "unknown", reason)
    said = [
        f"{_OTHERWISE[answer]} {', '.join(places)}"
        for answer in _OTHERWISE
        if answer != first.usable
        and (places := [f"cuda:{at}" for at, one in enumerate(others, 1) if one.usable == answer])
    ]
    return msgspec.structs.replace(first, reason="; ".join([first.reason, *said]))


def _on_every_one(each: Sequence[Sequence[Verdict]]) -> list[Verdict]:
    """Combine each backend's verdicts into the worst, its speed being that of the slowest GPU."""
    order: tuple[YesNo, ...] = ("no", "unknown", "yes")
    combined = []
    for verdicts in zip(*each, strict=True):
        worst = min(verdicts, key=lambda one: order.index(one.usable))
        speeds = [one.speedup_vs_half for one in verdicts]
        known = [speed for speed in speeds if speed is not None]
        slowest = min(known) if len(known) == len(speeds) else None
        combined.append(msgspec.structs.replace(worst, speedup_vs_half=slowest))
    return combined
