"""Whether it is an AMD machine that is judged: no build for CUDA is of any use there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qdoctor.model import Fix

if TYPE_CHECKING:
    from qdoctor.model import Gpu
    from qdoctor.rules.case import Case

OVERRIDE = "HSA_OVERRIDE_GFX_VERSION"
_BUILD = "+rocm"
_TABLE = "rocm"


def on_amd(case: Case) -> bool:
    """Say whether torch is a build for ROCm, a text is ROCm's, or only AMD's GPUs are stated."""
    if _BUILD in (case.machine.torch.value or ""):
        return True
    gpus = case.machine.gpus.value
    if gpus:
        return all(is_amd(case, gpu) for gpu in gpus)
    return any("amd" in signal.said for signal in case.signals)


def is_amd(case: Case, gpu: Gpu) -> bool:
    """Say whether a GPU is AMD's: by its vendor, its architecture or its name (table)."""
    if gpu.vendor is not None:
        return gpu.vendor == "amd"
    words = "|".join(case.matrix.table(_TABLE)["words"])
    named = f"{gpu.name or ''} {gpu.arch or ''}".lower()
    return re.search(rf"\b(?:{words})\b", named) is not None


def taken_for_another(case: Case, verify: str) -> Fix:
    """Offer to treat the GPU as its family's head, for which libraries hold code."""
    arch = next((gpu.arch for gpu in case.machine.gpus.value or () if gpu.arch), None)
    said = next((one.said["gfx"] for one in case.signals if "gfx" in one.said), None)
    rows = case.matrix.table(_TABLE)["rows"]
    own = arch or said or ""
    value = next((row["value"] for row in rows if re.fullmatch(row["arch"], own)), None)
    why = "AMD's runtime then takes the GPU for one of its family that the libraries hold code for"
    return Fix(action="set-env", name=OVERRIDE, value=value, why=why, verify=verify)
