"""What the matrix expects of each probe on this machine: pass, fail or unknown.

Conditions are data (``matrix/tables/expectations.json``): the layers that a probe's variant needs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from qdoctor import layers
from qdoctor.layers import together
from qdoctor.model import Expected, Gpu, Observation
from qdoctor.released import Known

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        msgspec.structs.replace(one, expected=_EXPECTED[expect(one, machine, matrix).value])
        for one in observations
    ]


def expect(seen: Observation, machine: Machine, matrix: Matrix) -> Answer:
    """Say whether the matrix lets a probe pass: ``yes``, ``no`` or ``unknown``, with the reason."""
    row = _row(seen, matrix)
    if row is None:
        return layers.Answer("unknown", f"the matrix expects nothing of {seen.probe}")
    subject = _subject(seen, machine)
    answers = (getattr(layers, name)(subject, matrix) for name in row["needs"])
    return together(answers)


def _row(seen: Observation, matrix: Matrix) -> dict[str, Any] | None:
    rows: list[dict[str, Any]] = matrix.table("expectations")["rows"]
    mode = "run" if seen.ran else "compile"
    device = "cpu" if seen.device == "cpu" else "gpu"
    for row in rows:
        wanted = (row["probe"], row["mode"], row["device"])
        if wanted == (seen.probe, mode, device) and row["variant"] in (None, seen.variant):
            return row
    return None


def _subject(seen: Observation, machine: Machine) -> Machine:
    """Return the machine as the probe saw it: with the GPU it ran on, or compiled for."""
    device = seen.device or ""
    if found := _SM_DEVICE.fullmatch(device):
        gpu = Gpu(index=0, sm=f"{found[1]}.{found[2]}", vendor="nvidia")
        return msgspec.structs.replace(machine, gpus=Known([gpu], machine.gpus.because))
    position = device.removeprefix("cuda:")
    gpus = machine.usable_gpus
    if position.isdigit() and int(position) < len(gpus):
        return msgspec.structs.replace(
            machine, gpus=Known([gpus[int(position)]], machine.gpus.because)
        )
    return machine
