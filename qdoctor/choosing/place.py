"""Which device a selection is for, and the verdicts there. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from qdoctor.machine import complete
from qdoctor.model import BadInput, SelectedFor, Verdict

if TYPE_CHECKING:
    from qdoctor.matrix import Matrix
    from qdoctor.model import Report

CPU = "cpu"
_DEVICE = re.compile(r"cuda(?::(\d{1,3}))?")


class Place(msgspec.Struct, frozen=True):
    """A device by torch's name (``cuda:0`` or ``cpu``), what it is, and the verdicts there."""

    device: str
    what: SelectedFor
    verdicts: list[Verdict]


def number(device: str | None) -> int | None:
    """Return the GPU's number that a device names; None for the CPU. No name is the first GPU.

    Raises ``BadInput`` for what torch would not call a CUDA device or the CPU.
    """
    if device == CPU:
        return None
    found = _DEVICE.fullmatch("cuda" if device is None else device)
    if found is None:
        raise BadInput(f"{device!r} is no device: give cuda, cuda:N or cpu")
    return int(found[1] or 0)


def place(report: Report, device: str | None, matrix: Matrix) -> Place:
    """Find the device in a report; none named is the first GPU, or the CPU where there is none.

    Raises ``BadInput`` for a GPU that is not there.
    """
    wanted = number(device)
    gpus = complete(report.facts, matrix).usable_gpus
    if wanted is None or (device is None and not gpus):
        return Place(CPU, SelectedFor("the CPU"), report.verdicts)
    if wanted >= len(gpus):
        here = f"CUDA shows {len(gpus) or 'no'} GPU{'s' * (len(gpus) > 1)} here"
        raise BadInput(f"{device} is not there: {here}")
    gpu = gpus[wanted]
    verdicts = report.gpu_verdicts[wanted].verdicts if report.gpu_verdicts else report.verdicts
    return Place(f"cuda:{wanted}", SelectedFor(gpu.name, gpu.sm), verdicts)
