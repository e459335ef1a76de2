"""Does a library that holds code for some SMs run on a GPU?

Machine code runs on its own SM and on newer minor versions of the same major; ``a`` code on exactly
its SM, ``f`` code within its family; PTX is compiled by the driver for its SM and every later one.
An integrated GPU (Tegra, as Jetson boards have) runs the machine code of its very SM only (NVIDIA
CUDA C++ Programming Guide, 'Binary compatibility' and 'PTX compatibility').
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qdoctor.matrix import Matrix

_ARCH = re.compile(r"(?P<kind>sm|compute)_(?P<major>\d+)(?P<minor>\d)(?P<only>[af]?)")


def runs_on(sm: str, archs: Iterable[str], *, integrated: bool = False) -> str | None:
    """Return the entry of ``archs`` (``sm_80``, ``compute_90``) that serves ``sm`` (``"8.6"``).

    Machine code is preferred to PTX; None where nothing serves it.
    """
    return _serving(sm, tuple(archs), integrated)


@lru_cache(maxsize=4096)
def _serving(
    sm: str,
    archs: Iterable[str],
    integrated: bool,  # noqa: FBT001 - a cache's key
) -> str | None:
    gpu = _numbers(sm)
    if integrated:
        archs = [one for one in archs if one.startswith("compute") or one == f"sm_{gpu[0]}{gpu[1]}"]
    found = [match for arch in archs if (match := _ARCH.fullmatch(arch))]
    native = [match[0] for match in found if match["kind"] == "sm" and _binary_fits(match, gpu)]
    if native:
        return native[-1]
    ptx = [match[0] for match in found if match["kind"] == "compute" and _ptx_fits(match, gpu)]
    return ptx[-1] if ptx else None


def is_integrated(sm: str, matrix: Matrix) -> bool:
    """Say whether only integrated GPUs have an SM."""
    row = matrix.row("sm", sm)
    return bool(row and row.get("integrated"))


def _numbers(sm: str) -> tuple[int, int]:
    major, _, minor = sm.partition(".")
    return int(major), int(minor or 0)


def _binary_fits(match: re.Match[str], gpu: tuple[int, int]) -> bool:
    major, minor = int(match["major"]), int(match["minor"])
    if match["only"] == "a":
        return (major, minor) == gpu
    return major == gpu[0] and minor <= gpu[1]


def _ptx_fits(match: re.Match[str], gpu: tuple[int, int]) -> bool:
    major, minor = int(match["major"]), int(match["minor"])
    if match["only"]:
        return (major, minor) == gpu
    return (major, minor) <= gpu
