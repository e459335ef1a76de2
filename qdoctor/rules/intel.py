"""Whether it is an Intel GPU that is judged: torch has builds of its own for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qdoctor.rules.remedies import torch_build

if TYPE_CHECKING:
    from qdoctor.model import Fix, Gpu
    from qdoctor.rules.case import Case

_TABLE = "xpu"
_TOLD = "xpu"
"""The group of a text in which a program asks torch for Intel's GPUs."""


def on_intel(case: Case) -> bool:
    """Say whether only Intel's GPUs are stated, or, where none is, a text asks for one."""
    gpus = case.machine.gpus.value
    if gpus:
        return all(_is_intel(case, gpu) for gpu in gpus)
    return any(_TOLD in signal.said for signal in case.signals)


def _is_intel(case: Case, gpu: Gpu) -> bool:
    """Say whether a GPU is Intel's: by its vendor, or its name (table)."""
    if gpu.vendor is not None:
        return gpu.vendor == "intel"
    words = "|".join(case.matrix.table(_TABLE)["words"])
    return re.search(rf"\b(?:{words})\b", (gpu.name or "").lower()) is not None


def build_for_intel(case: Case, verify: str) -> Fix:
    """Offer the build of torch that uses such a GPU (table)."""
    row = case.matrix.table(_TABLE)["rows"]["torch"]
    why = "this build uses Intel's GPUs; a program then asks for the device xpu, not cuda"
    return torch_build(row["releases"], row["index"], why, verify=verify)
