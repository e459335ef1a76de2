"""Layer: can bitsandbytes be imported beside this triton, with or without a GPU?"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

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
    from qdoctor.model import TritonUse, YesNo


def bnb_imports(machine: Machine, matrix: Matrix) -> Answer:
    """Can bitsandbytes be imported: is all there that importing it asks for?

    Asked in the order in which importing does, so that the first ``no`` is what fails.
    """
    version = machine.bitsandbytes
    if not version.value:
        return unknown(version.reason or f"{PACKAGE} is not installed")
    others = [modules_there(machine, matrix), torch_compiler_loads(machine, matrix)]
    return together([*others, _asks_triton(machine, matrix)])


class _Asked(msgspec.Struct, frozen=True):
    """What of a machine decides whether importing finds what it asks triton for.

    ``there``: is triton installed? ``uses`` and ``has`` are what was read of the installed files.
    """

    version: str
    triton: Known[str]
    there: YesNo
    gpu: Answer
    uses: tuple[TritonUse, ...] = ()
    has: dict[str, bool] | None = None


def _asks_triton(machine: Machine, matrix: Matrix) -> Answer:
    """Are the triton names there that importing asks for, and a GPU if its decorators want one?"""
    uses = tuple([one for one in machine.facts.triton_names or () if one.package == PACKAGE])
    asked = _Asked(
        version=machine.bitsandbytes.value or "",
        triton=machine.triton,
        there=machine.installed("triton"),
        gpu=machine.ask(gpu_present, matrix),
        uses=uses,
        has=machine.facts.triton_has,
    )
    read = uses or asked.has is not None
    return _answer(asked, matrix) if read else _by_releases(asked, matrix)


@lru_cache(maxsize=8192)
def _by_releases(asked: _Asked, matrix: Matrix) -> Answer:
    return _answer(asked, matrix)


def _answer(asked: _Asked, matrix: Matrix) -> Answer:
    opens = _guard_opens(asked, matrix) if asked.there == "yes" else "no"
    if opens == "yes":
        steps = [_names(asked, matrix, "import_needs_first"), _decorators(asked, matrix)]
        return together([*steps, _names(asked, matrix, "import_needs")])
    if opens == "unknown":
        return _behind_a_guard(asked, matrix)
    answer = _names(asked, matrix, "import_needs_always")
    guarded = fact(matrix, PACKAGE, asked.version, "import_needs")
    undecided = asked.there == "unknown" and answer.value == "yes" and guarded.value != []
    return unknown(asked.triton.reason) if undecided else answer


def _guard_opens(asked: _Asked, matrix: Matrix) -> YesNo:
    """Does this release take the installed triton for available? Some ask for a GPU as well."""
    guard = fact(matrix, PACKAGE, asked.version, "triton_guard")
    return asked.gpu.value if guard.value == "device" else "yes"


def _behind_a_guard(asked: _Asked, matrix: Matrix) -> Answer:
    """Whether a GPU opens the guard is unknown: yes only where importing works either way."""
    shut = _names(asked, matrix, "import_needs_always")
    opened = _names(asked, matrix, "import_needs")
    if shut.value != "yes" or opened.value == "yes":
        return shut
    return unknown(f"whether there is a GPU is unknown; with one, {opened.reason}")


def _names(asked: _Asked, matrix: Matrix, key: str) -> Answer:
    """Look up every name that importing asks triton for; ``key`` is the fact that lists them."""
    version = asked.version
    needed = _inspected(asked, fact(matrix, PACKAGE, version, key), key)
    if needed.value is None:
        return unknown(needed.reason)
    if not needed.value:
        return yes(f"importing {PACKAGE} {version} asks nothing of triton", needed.because)
    if asked.there == "no":
        text = f"importing {PACKAGE} {version} needs triton, which is not installed"
        return no("triton-api-moved-other", text, needed.because, asked.triton.because)
    asking = Asking(f"importing {PACKAGE} {version}", PACKAGE, version, key, asked.uses)
    return resolve(asked.triton, asked.has, matrix, needed, asking)


def _inspected(asked: _Asked, needed: Known[list[str]], key: str) -> Known[list[str]]:
    """Let the installed files say what importing asks for; the order of it only releases tell."""
    if not asked.uses:
        return needed
    read = corrected(asked.uses, PACKAGE, needed)
    if key == "import_needs" or read.value is None or needed.value is None:
        return read if key == "import_needs" else needed
    return Known([name for name in needed.value if name in read.value], needed.because)


def _decorators(asked: _Asked, matrix: Matrix) -> Answer:
    """Do triton's decorators, if importing runs them, find the GPU that they ask for?"""
    version = asked.version
    run = fact(matrix, PACKAGE, version, "decorates_at_import")
    if run.value is None:
        return unknown(run.reason)
    calling = set(matrix.table("triton_names")["driver_decorators"])
    if not calling.intersection(run.value):
        return yes(
            f"importing {PACKAGE} {version} runs no decorator that asks for a GPU", run.because
        )
    if asked.triton.value is None:
        return unknown(asked.triton.reason)
    return _asked_for_a_gpu(asked, matrix, run)


def _asked_for_a_gpu(asked: _Asked, matrix: Matrix, run: Known[list[str]]) -> Answer:
    """Say whether the decorators that importing runs ask for a GPU that is not there."""
    triton, gpu = asked.triton.value or "", asked.gpu
    ask = fact(matrix, "triton", triton, "decorators_need_driver")
    if ask.value is None:
        return unknown(ask.reason)
    if not ask.value:
        return yes(f"triton {triton}'s decorators ask for no GPU", ask.because)
    if gpu.value == "unknown":
        return gpu
    if gpu.value == "yes":
        return yes(f"triton {triton}'s decorators find the GPU they ask for", ask.because)
    who = f"importing {PACKAGE} {asked.version}"
    text = f"{who} runs triton {triton}'s autotune decorator, which asks for a GPU"
    return no("triton-import-needs-gpu", text, run.because, ask.because, *gpu.because)
