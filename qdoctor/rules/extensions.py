"""Which packages may have launched a kernel that is missing, where torch has all of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers.natives import packages_with_code
from qdoctor.rules.torch_no_sm_binary import torch_serves

if TYPE_CHECKING:
    from qdoctor.rules.case import Case

_TABLE = "cuda_libraries"


def extensions_left(case: Case) -> list[str]:
    """Return the installed packages with kernels of their own; [] where torch's may be missing.

    bitsandbytes, which has rules of its own, leaves none; nor do packages whose libraries were
    read: they are judged by what they hold.
    """
    machine = case.machine
    if torch_serves(case).value != "yes" or machine.bitsandbytes.value is not None:
        return []
    read = packages_with_code(machine)
    return [
        one
        for one in case.matrix.table(_TABLE)["with_cuda_code"]
        if one not in read and machine.package(one).value
    ]
