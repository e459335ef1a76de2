"""Layers of bitsandbytes: installed, importable, with a native library for this CUDA and GPU."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from qdoctor import released
from qdoctor.layers.answer import Answer, no, unknown, yes
from qdoctor.layers.bnb_binaries import PACKAGE, chosen, shipped_here
from qdoctor.layers.sms import is_integrated, runs_on
from qdoctor.layers.torch import installed
from qdoctor.model import Because
from qdoctor.released import fact, fits, has

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.requirements import Requirement

    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix
    from qdoctor.released import Known

_FOUR_BIT = {"nf4": "bitsandbytes.nn.LinearNF4", "fp4": "bitsandbytes.nn.LinearFP4"}


def bnb_installed(machine: Machine, matrix: Matrix) -> Answer:  # noqa: ARG001
    """Is bitsandbytes installed?"""
    return installed(machine, PACKAGE, None)


def bnb_accepts_torch(machine: Machine, matrix: Matrix) -> Answer:
    """Does bitsandbytes' own requirement accept the installed torch?"""
    read = (machine.facts.requires or {}).get(PACKAGE)
    stated = None if read is None else tuple(read)
    return _accepts(matrix, machine.bitsandbytes, machine.torch, stated)


@lru_cache(maxsize=8192)
def _accepts(
    matrix: Matrix, version: Known[str], torch: Known[str], stated: tuple[str, ...] | None
) -> Answer:
    """Answer by the requirements that are ``stated``, else by those of the release."""
    if not version.value or not torch.value:
        return unknown(version.reason or torch.reason or f"{PACKAGE} or torch is not installed")
    mined = fact(matrix, PACKAGE, version.value, "requires_dist")
    lines = mined.value if stated is None else stated
    if lines is None:
        return unknown(mined.reason)
    for requirement in _on_torch(lines):
        if fits(matrix, "torch", torch.value, str(requirement.specifier)) is False:
            text = f"{PACKAGE} {version.value} requires {requirement}, torch is {torch.value}"
            return no("package-needs-newer-torch", text, mined.because, torch.because)
    return yes(f"{PACKAGE} {version.value} accepts torch {torch.value}", mined.because)


def bnb_has_cuda_binary(machine: Machine, matrix: Matrix) -> Answer:
    """Does bitsandbytes ship a native library for the CUDA version that torch was built for?"""
    return machine.ask(chosen, matrix).answer


def bnb_ships_here(machine: Machine, matrix: Matrix) -> Answer:
    """Does bitsandbytes ship any library for CUDA for this system?"""
    return shipped_here(machine, matrix)


def bnb_binary_has_sm(machine: Machine, matrix: Matrix) -> Answer:
    """Does the library that is loaded hold code for this GPU?"""
    choice, sm = machine.ask(chosen, matrix), machine.sm
    if choice.binary is None:
        return unknown(choice.answer.reason)
    if sm.value is None:
        return unknown(sm.reason)
    binary = choice.binary
    if binary.sm is None:
        return unknown(f"the SMs of {binary.file} are not known")
    archs = [*binary.sm, *(f"compute_{one.split('_')[-1]}" for one in binary.ptx or ())]
    integrated = is_integrated(sm.value, matrix)
    serving = runs_on(sm.value, archs, integrated=integrated)
    because = choice.answer.because
    if serving is None:
        text = f"{binary.file} has no code for SM {sm.value} (it has {', '.join(archs) or 'none'})"
        rule = "bnb-platform-unsupported" if integrated else "bnb-no-sm-binary"
        return no(rule, text, *because, sm.because)
    return yes(f"the {serving} code of {binary.file} runs on SM {sm.value}", *because)


def bnb_libs_found(machine: Machine, matrix: Matrix) -> Answer:
    """Would the library that is loaded be given the CUDA libraries that it needs?"""
    choice = machine.ask(chosen, matrix)
    if choice.binary is None:
        return unknown(choice.answer.reason)
    binary = choice.binary
    if binary.missing is None:
        return unknown(f"which files {binary.file} would be given is not known")
    if not binary.missing:
        return yes(f"the loader finds what {binary.file} needs", *choice.answer.because)
    text = f"{binary.file} needs {', '.join(binary.missing)}, which the loader does not find"
    read = Because(text, "facts: native", "inspected")
    return no("bnb-cuda-libs-not-found", text, read, *choice.answer.because)


def bnb_has_nf4(machine: Machine, matrix: Matrix) -> Answer:
    """Has this bitsandbytes nf4 layers?"""
    return _has_layer(machine, matrix, "nf4")


def bnb_has_fp4(machine: Machine, matrix: Matrix) -> Answer:
    """Has this bitsandbytes fp4 layers?"""
    return _has_layer(machine, matrix, "fp4")


def _has_layer(machine: Machine, matrix: Matrix, kind: str) -> Answer:
    version = machine.bitsandbytes
    if not version.value:
        return unknown(version.reason or f"{PACKAGE} is not installed")
    name = _FOUR_BIT[kind]
    answer = has(matrix, PACKAGE, version.value, name)
    if answer == "unknown":
        return unknown(f"whether {PACKAGE} {version.value} has {name} is not known")
    because = matrix.because(
        PACKAGE, version.value, "public_names", f"{name} in {version.value}: {answer}"
    )
    text = f"{PACKAGE} {version.value} has {'' if answer == 'yes' else 'no '}{name}"
    return yes(text, because) if answer == "yes" else no("bnb-version-regression", text, because)


def _on_torch(lines: Iterable[str]) -> list[Requirement]:
    found = (released.requirement(line) for line in lines if "torch" in line)
    return [one for one in found if one is not None and one.name == "torch"]
