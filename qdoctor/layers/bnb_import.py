"""Layer: can bitsandbytes be imported beside this triton, with or without a GPU?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers.answer import Answer, no, together, unknown, yes
from qdoctor.layers.bnb_binaries import PACKAGE
from qdoctor.layers.bnb_import_others import modules_there, torch_compiler_loads
from qdoctor.layers.gpu import gpu_present
from qdoctor.layers.triton_names import Asking, resolve
from qdoctor.layers.triton_uses import corrected
from qdoctor.released import Known, fact

if TYPE_CHECKING:
    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix
    from qdoctor.model import YesNo


def bnb_imports(machine: Machine, matrix: Matrix) -> Answer:
    """Can bitsandbytes be imported: is all there that importing it asks for?

    Asked in the order in which importing does, so that the first ``no`` is what fails.
    """
    version = machine.bitsandbytes
    if not version.value:
        return unknown(version.reason or f"{PACKAGE} is not installed")
    others = [modules_there(machine, matrix), torch_compiler_loads(machine, matrix)]
    return together([*others, _asks_triton(machine, matrix)])


def _asks_triton(machine: Machine, matrix: Matrix) -> Answer:
    """Are the triton names there that importing asks for, and a GPU if its decorators want one?"""
    version = machine.bitsandbytes
    present = machine.installed("triton")
    if present == "yes" and _guard_opens(machine, matrix) == "yes":
        first, names = "import_needs_first", "import_needs"
        steps = [_names(machine, matrix, first), _decorators(machine, matrix)]
        return together([*steps, _names(machine, matrix, names)])
    if present == "yes" and _guard_opens(machine, matrix) == "unknown":
        return _behind_a_guard(machine, matrix)
    answer = _names(machine, matrix, "import_needs_always")
    guarded = fact(matrix, PACKAGE, version.value or "", "import_needs")
    undecided = present == "unknown" and answer.value == "yes" and guarded.value != []
    return unknown(machine.triton.reason) if undecided else answer


def _guard_opens(machine: Machine, matrix: Matrix) -> YesNo:
    """Does this release take the installed triton for available? Some ask for a GPU as well."""
    guard = fact(matrix, PACKAGE, machine.bitsandbytes.value or "", "triton_guard")
    return gpu_present(machine, matrix).value if guard.value == "device" else "yes"


def _behind_a_guard(machine: Machine, matrix: Matrix) -> Answer:
    """Whether a GPU opens the guard is unknown: yes only where importing works either way."""
    shut = _names(machine, matrix, "import_needs_always")
    opened = _names(machine, matrix, "import_needs")
    if shut.value != "yes" or opened.value == "yes":
        return shut
    return unknown(f"whether there is a GPU is unknown; with one, {opened.reason}")


def _names(machine: Machine, matrix: Matrix, key: str) -> Answer:
    """Look up every name that importing asks triton for; ``key`` is the fact that lists them."""
    version = machine.bitsandbytes.value or ""
    needed = _inspected(machine, fact(matrix, PACKAGE, version, key), key)
    if needed.value is None:
        return unknown(needed.reason)
    if not needed.value:
        return yes(f"importing {PACKAGE} {version} asks nothing of triton", needed.because)
    if machine.installed("triton") == "no":
        text = f"importing {PACKAGE} {version} needs triton, which is not installed"
        return no("triton-api-moved-other", text, needed.because, machine.triton.because)
    asking = Asking(f"importing {PACKAGE} {version}", PACKAGE, version, key)
    return resolve(machine, matrix, needed, asking)


def _inspected(machine: Machine, needed: Known[list[str]], key: str) -> Known[list[str]]:
    """Let the installed files say what importing asks for; the order of it only releases tell."""
    read = corrected(machine, PACKAGE, needed)
    if key == "import_needs" or read.value is None or needed.value is None:
        return read if key == "import_needs" else needed
    return Known([name for name in needed.value if name in read.value], needed.because)


def _decorators(machine: Machine, matrix: Matrix) -> Answer:
    """Do triton's decorators, if importing runs them, find the GPU that they ask for?"""
    version = machine.bitsandbytes.value or ""
    run = fact(matrix, PACKAGE, version, "decorates_at_import")
    if run.value is None:
        return unknown(run.reason)
    asking = set(matrix.table("triton_names")["driver_decorators"])
    if not asking.intersection(run.value):
        return yes(
            f"importing {PACKAGE} {version} runs no decorator that asks for a GPU", run.because
        )
    if machine.triton.value is None:
        return unknown(machine.triton.reason)
    return _asked_for_a_gpu(machine, matrix, run)


def _asked_for_a_gpu(machine: Machine, matrix: Matrix, run: Known[list[str]]) -> Answer:
    """Say whether the decorators that importing runs ask for a GPU that is not there."""
    triton = machine.triton.value or ""
    ask = fact(matrix, "triton", triton, "decorators_need_driver")
    if ask.value is None:
        return unknown(ask.reason)
    if not ask.value:
        return yes(f"triton {triton}'s decorators ask for no GPU", ask.because)
    gpu = gpu_present(machine, matrix)
    if gpu.value == "unknown":
        return gpu
    if gpu.value == "yes":
        return yes(f"triton {triton}'s decorators find the GPU they ask for", ask.because)
    who = f"importing {PACKAGE} {machine.bitsandbytes.value}"
    text = f"{who} runs triton {triton}'s autotune decorator, which asks for a GPU"
    return no("triton-import-needs-gpu", text, run.because, ask.because, *gpu.because)
