"""What the matrix expects of each probe on this machine: pass, fail or unknown.

Conditions are data (``matrix/tables/expectations.json``): the layers that a probe's variant needs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from qdoctor import layers
from qdoctor.answered import speaks_of
from qdoctor.layers import together
from qdoctor.model import Expected, Gpu, Observation
from qdoctor.released import Known

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qdoctor.layers import Answer
    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix

_SM_DEVICE = re.compile(r"sm_(\d+)(\d)")
_EXPECTED: dict[str, Expected] = {"yes": "pass", "no": "fail", "unknown": "unknown"}


def annotate(
    observations: Sequence[Observation], machine: Machine, matrix: Matrix
) -> list[Observation]:
    """Return the observations with ``expected`` filled in, by the matrix alone."""
    return [
        msgspec.structs.replace(
            one, expected=_EXPECTED[expect(one, machine, matrix, observations).value]
        )
        for one in observations
    ]


def expect(
    seen: Observation, machine: Machine, matrix: Matrix, every: Iterable[Observation] = ()
) -> Answer:
    """Say whether the matrix lets a probe pass: ``yes``, ``no`` or ``unknown``, with the reason.

    What speaks of several variants (a child that ended before it had answered, see ``every``) was
    to pass if one of them was.
    """
    rows = _rows(seen, matrix, tuple(every))
    if not rows:
        return layers.Answer("unknown", f"the matrix expects nothing of {seen.probe}")
    subject = _subject(seen, machine)
    if subject is None:
        return layers.Answer("unknown", f"which GPU is {seen.device} is not known")
    answers = [
        together(getattr(layers, name)(subject, matrix) for name in row["needs"]) for row in rows
    ]
    return next((one for one in answers if one.value == "yes"), answers[0])


def _rows(
    seen: Observation, matrix: Matrix, every: tuple[Observation, ...]
) -> list[dict[str, Any]]:
    mode = "run" if seen.ran else "compile"
    device = "cpu" if seen.device == "cpu" else "gpu"
    wanted = (seen.probe, mode, device)
    fitting = [
        row
        for row in matrix.table("expectations")["rows"]
        if wanted == (row["probe"], row["mode"], row["device"])
        and speaks_of(seen, row["variant"], every)
    ]
    return fitting[:1] if seen.variant else fitting


def _subject(seen: Observation, machine: Machine) -> Machine | None:
    """Return the machine as the probe saw it: with the GPU it ran on, or compiled for, in view."""
    device = seen.device or ""
    if found := _SM_DEVICE.fullmatch(device):
        gpu = Gpu(index=0, sm=f"{found[1]}.{found[2]}", vendor="nvidia")
        alone = Known([gpu], machine.gpus.because)
        return msgspec.structs.replace(machine, gpus=alone, judged=0)
    position = device.removeprefix("cuda:")
    if position.isdigit() and int(position) < len(machine.usable_gpus):
        at = msgspec.structs.replace(machine, judged=int(position))
        return at if machine.numbered else None
    return machine
