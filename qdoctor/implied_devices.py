"""What a machine's driver and GPUs imply: the CUDA version that is served, and each GPU's SM."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from qdoctor.implied_packages import Contradiction
from qdoctor.model import Because, Driver, Facts, Gpu
from qdoctor.released import Known, parsed, unknown

if TYPE_CHECKING:
    from qdoctor.matrix import Matrix

_LONGEST_BRANCH = 6  # digits; what has more is no driver, and Python may not read it as a number
NVIDIA = "nvidia"


def is_usable(gpu: Gpu) -> bool:
    """Say whether CUDA would number this GPU: NVIDIA's, and not hidden from the process."""
    return gpu.visible is not False and gpu.vendor in (None, NVIDIA) and gpu.arch is None


def gpus(facts: Facts, matrix: Matrix) -> Known[list[Gpu]]:
    """Return the GPUs with the SM that their name implies filled in."""
    if facts.gpus is None:
        return unknown("which GPUs are there is not known")
    names = ", ".join(gpu.name or "unnamed" for gpu in facts.gpus) or "none"
    read = Because(f"GPUs: {names}", "facts: gpus", "inspected")
    return Known([_filled(gpu, matrix) for gpu in facts.gpus], read)


def sm_of(gpu: Gpu | None, reason: str) -> Known[str]:
    """Return a GPU's SM with its evidence; ``reason`` says why there is no GPU."""
    if gpu is None:
        return unknown(reason or "there is no NVIDIA GPU")
    if gpu.sm is None:
        named = gpu.name or "this GPU"
        return unknown(f"the SM of {named} is not known: no single model has that name")
    text = f"{gpu.name or 'the GPU'} has SM {gpu.sm}"
    return Known(gpu.sm, Because(text, "facts: gpus", "inspected"))


def driver_cuda(
    driver: Driver, matrix: Matrix, disagreed: list[Contradiction], *, assumed: bool
) -> Known[str]:
    """Return the newest CUDA version that the driver serves, a cuda-compat package included."""
    if assumed:
        return unknown("a driver that is new enough is assumed")
    if driver.version == "" or (driver.cuda == "" and not driver.version):
        return Known("", Because("there is no GPU driver", "facts: driver", "inspected"))
    own = _own_ceiling(driver, matrix, disagreed)
    lifted, base = parsed(driver.compat_cuda), parsed(own.value)
    if lifted and (base is None or lifted > base):
        text = f"an active cuda-compat package serves CUDA {driver.compat_cuda}"
        return Known(driver.compat_cuda, Because(text, "facts: driver.compat_cuda", "inspected"))
    return own


def branch_of(version: str) -> str:
    """Return a driver's branch, the first number of its version: ``535`` of ``535.104.05``."""
    return version.partition(".")[0]


def _own_ceiling(driver: Driver, matrix: Matrix, disagreed: list[Contradiction]) -> Known[str]:
    derived = _by_branch(driver.version, matrix)
    if not driver.cuda:
        return derived
    text = f"the driver supports CUDA {driver.cuda}"
    read = Because(text, "facts: driver.cuda", "inspected")
    known, stated = parsed(derived.value), parsed(driver.cuda)
    if derived.because and known and stated and stated < known:
        disagreed.append(Contradiction("driver_cuda", read, derived.because))
    return Known(driver.cuda, read)


@lru_cache(maxsize=256)
def _by_branch(version: str | None, matrix: Matrix) -> Known[str]:
    """Look a driver's branch up; one between two listed supports what the lower one does."""
    if version is None:
        return unknown("the driver's version is not known")
    branch = branch_of(version)
    rows = matrix.table("drivers")["rows"]
    plain = branch.isdecimal() and len(branch) <= _LONGEST_BRANCH
    lower = [one for one in rows if plain and int(one) <= int(branch)]
    if not lower:
        return unknown(f"the matrix does not know the driver {version}")
    row = max(lower, key=int)
    cuda: str = rows[row]["cuda"]
    text = f"driver {version} supports CUDA {cuda}"
    return Known(cuda, matrix.because_row("drivers", row, text))


def _filled(gpu: Gpu, matrix: Matrix) -> Gpu:
    if gpu.name is None or (gpu.sm is not None and gpu.vendor is not None):
        return gpu
    rows = matrix.gpus_named(gpu.name)
    sms = {row.sm for row in rows}
    sm = gpu.sm or (sms.pop() if len(sms) == 1 else None)
    vendor = gpu.vendor or (NVIDIA if rows or NVIDIA in gpu.name.lower() else None)
    return msgspec.structs.replace(gpu, sm=sm, vendor=vendor)
