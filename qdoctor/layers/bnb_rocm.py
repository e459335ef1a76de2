"""Does bitsandbytes' library for ROCm hold code for an AMD GPU? Table ``bnb_rocm``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from qdoctor.layers.answer import Answer, no, unknown, yes
from qdoctor.layers.bnb_binaries import PACKAGE
from qdoctor.layers.natives import libraries_of
from qdoctor.model import Because
from qdoctor.released import cited, fits

if TYPE_CHECKING:
    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix
    from qdoctor.model import Gpu

_TABLE = "bnb_rocm"
_RULE = "bnb-no-sm-binary"
_GFX = re.compile(r"\bgfx[0-9a-f]{3,4}\b")
_ROCM = re.compile(r"\+rocm(\d+)\.(\d+)")
_OVERRIDE = "HSA_OVERRIDE_GFX_VERSION"


def bnb_has_gfx(machine: Machine, matrix: Matrix) -> Answer:
    """Does the library for this ROCm hold code for the AMD GPU that is stated?

    Where the ROCm is not known, or a release takes another library for it, all of them are asked.
    """
    target, version = target_of(machine, matrix), machine.bitsandbytes.value
    if target is None or not version:
        return unknown("the target of the AMD GPU is not known" if version else "no bitsandbytes")
    if (machine.facts.env or {}).get(_OVERRIDE):
        return unknown(f"{_OVERRIDE} makes the runtime take the GPU for another one")
    rows = _rows(machine, matrix, version)
    if not rows:
        return unknown(f"for which of AMD's GPUs bitsandbytes {version} holds code is not known")
    table, lacking = matrix.table(_TABLE), [one for one in rows if target not in one["gfx"]]
    held = ", ".join(sorted({one for row in rows for one in row["gfx"]}))
    read = Because(f"the GPU's target is {target}", "facts: gpus", "inspected")
    if len(lacking) == len(rows):
        text = f"bitsandbytes {version} has no code for {target} (for ROCm it has {held})"
        return no(_RULE, text, cited(table, rows[0], text), read)
    if lacking:
        return unknown(f"only some of its libraries for ROCm hold code for {target}")
    text = f"bitsandbytes {version} has code for {target}"
    return yes(text, cited(table, rows[0], text), read)


def target_of(machine: Machine, matrix: Matrix) -> str | None:
    """Return the target of the AMD GPUs, by their architecture or name; None for several."""
    found = {_target(gpu, matrix) for gpu in machine.gpus.value or machine.facts.gpus or []}
    return found.pop() if len(found) == 1 else None


def _target(gpu: Gpu, matrix: Matrix) -> str | None:
    name = (gpu.name or "").lower()
    if said := _GFX.search(gpu.arch or "") or _GFX.search(name):
        return said[0]
    names: list[list[str]] = matrix.table(_TABLE)["names"]
    return next((target for pattern, target in names if re.search(pattern, name)), None)


def _rows(machine: Machine, matrix: Matrix, version: str) -> list[dict[str, Any]]:
    """Return the rows of the library for this ROCm; of every one where that is not among them."""
    rocm, system = _ROCM.search(machine.torch.value or ""), machine.os.value
    own = {one.file for one in libraries_of(machine, PACKAGE) if "rocm" in (one.file or "")}
    of_release = [
        row
        for row in matrix.table(_TABLE)["rows"]
        if fits(matrix, PACKAGE, version, row["spec"]) and system in {None, row["os"]}
    ]
    known = {f"libbitsandbytes_{name}.so" for row in of_release for name in row["libraries"]}
    if own - known:
        return []  # somebody's own build
    wanted = f"rocm{rocm[1]}{rocm[2]}" if rocm else ""
    return [row for row in of_release if wanted in row["libraries"]] or of_release
