"""Layers of native libraries as they were read from installed packages, whatever the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor.layers.answer import Answer, no, unknown, yes
from qdoctor.layers.sms import runs_on
from qdoctor.model import Because
from qdoctor.released import parsed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix
    from qdoctor.model import NativeLibrary

READ = "facts: native"
_NVIDIA = "nvidia-"
"""Wheels of NVIDIA's own libraries, which hold code for what each of them supports."""


class Jit(msgspec.Struct, frozen=True):
    """PTX that the driver has to compile for a GPU: of which library, for which CUDA release."""

    who: str
    cuda: str
    because: Because


def packages_with_code(machine: Machine) -> list[str]:
    """Name the packages whose libraries hold GPU code, NVIDIA's own left out; in order."""
    named = {
        one.package: None
        for one in machine.facts.native or ()
        if one.package and (one.sm or one.ptx) and not one.package.startswith(_NVIDIA)
    }
    return [name for name in named if name]


def libraries_of(machine: Machine, package: str) -> list[NativeLibrary]:
    """Return what was read of one package's libraries."""
    return [one for one in machine.facts.native or () if one.package == package and one.file]


def package_has_sm(machine: Machine, package: str) -> Answer:
    """Does any library of a package hold code that this GPU runs?

    One is enough: packages hold libraries that are made for certain GPUs only beside the others.
    """
    sm = machine.sm
    if sm.value is None:
        return unknown(sm.reason)
    read = [one for one in libraries_of(machine, package) if one.sm or one.ptx]
    if not read:
        return unknown(f"the GPU code of {package} is not known")
    serving = [(runs_on(sm.value, archs(one)), one) for one in read]
    for found, library in serving:
        if found is not None:
            text = f"the {found} code of {library.file} runs on SM {sm.value}"
            return yes(text, Because(text, READ, "inspected"))
    held = ", ".join(sorted({arch for one in read for arch in archs(one)}, key=_by_number))
    named = read[0].file if len(read) == 1 else f"none of {package}'s {len(read)} libraries"
    verb = "has no code" if len(read) == 1 else "has code"
    text = f"{named} {verb} for SM {sm.value} (held: {held})"
    return no("no-sm-binary", text, Because(text, READ, "inspected"), sm.because)


def archs(library: NativeLibrary) -> list[str]:
    """Name a library's code as compilers do: ``sm_80`` machine code, ``compute_80`` PTX."""
    return [
        *(library.sm or ()),
        *(f"compute_{one.rpartition('_')[2]}" for one in library.ptx or ()),
    ]


def package_ptx_compiles(machine: Machine, matrix: Matrix, package: str) -> Answer:
    """Does the driver compile the PTX of a package, where that is all there is for this GPU?"""
    return _compiles(machine, [_jit_of(machine, matrix, one) for one in _needing(machine, package)])


def torch_ptx_compiles(machine: Machine, matrix: Matrix) -> Answer:
    """Does the driver compile torch's PTX, where torch has no machine code for this GPU?"""
    sm, held, cuda = machine.sm, machine.torch_sm, machine.torch_cuda
    if sm.value is None or held.value is None or not cuda.value:
        return unknown(sm.reason or held.reason or cuda.reason or "torch is built without CUDA")
    found = runs_on(sm.value, held.value)
    if found is None or not found.startswith("compute"):
        return yes("the driver need not compile any of torch's code", held.because)
    text = f"torch has only PTX for SM {sm.value}, written by CUDA {cuda.value}"
    because = Because(text, cuda.because.source, cuda.because.strength) if cuda.because else None
    wanted = _needed_by_toolkit(matrix, cuda.value)
    return _compiles(machine, [Jit("torch", wanted, because)] if because else [])


def _needing(machine: Machine, package: str) -> list[NativeLibrary]:
    """Return the libraries that hold nothing but PTX for this GPU."""
    sm = machine.sm.value
    return [
        one
        for one in libraries_of(machine, package)
        if sm is not None and (runs_on(sm, archs(one)) or "").startswith("compute")
    ]


def _jit_of(machine: Machine, matrix: Matrix, library: NativeLibrary) -> Jit | None:
    """Say which CUDA release the PTX for this GPU asks for; None where its version is not known."""
    serving = (runs_on(machine.sm.value or "", archs(library)) or "").replace("compute", "sm")
    isa = (library.ptx_isa or {}).get(serving)
    row = matrix.row("ptx_isa", isa) if isa else None
    if isa is None or row is None:
        return None
    text = f"{library.file} has only PTX {isa} for SM {machine.sm.value}, of CUDA {row['cuda']}"
    return Jit(library.file or "", row["cuda"], Because(text, READ, "inspected"))


def _compiles(machine: Machine, asked: Iterable[Jit | None]) -> Answer:
    ceiling = machine.driver_cuda
    wanted = list(asked)
    if not wanted:
        return yes("no code is left to the driver to compile")
    if machine.driver_assumed:
        return yes("a driver that is new enough is assumed")
    have = parsed(ceiling.value)
    for one in wanted:
        need = parsed(one.cuda) if one else None
        if one and need and have and have < need:
            text = f"{one.because.text}; the driver compiles PTX up to CUDA {ceiling.value}"
            return no("ptx-newer-than-driver", text, one.because, ceiling.because)
    if have is None or None in wanted:
        return unknown(ceiling.reason or "which PTX version the libraries hold is not known")
    return yes(f"the driver compiles PTX up to CUDA {ceiling.value}", ceiling.because)


def _needed_by_toolkit(matrix: Matrix, toolkit: str) -> str:
    """Return the oldest CUDA release that compiles what a toolkit writes (12.6 writes 12.5's)."""
    own = parsed(toolkit)
    known = [
        (version, row["cuda"])
        for row in matrix.table("ptx_isa")["rows"].values()
        if (version := parsed(row["cuda"]))
    ]
    older = [pair for pair in known if own and pair[0] <= own]
    return max(older)[1] if older and own and max(known)[0] >= own else toolkit


def package_fits_symbols(machine: Machine, package: str) -> Answer:
    """Are the C and C++ libraries new enough for a package's libraries, as read?"""
    libc, given = machine.libc, (machine.facts.host.glibcxx if machine.facts.host else None)
    read = libraries_of(machine, package)
    if machine.os.value not in {None, "linux"} or not read:
        return yes(f"no library of {package} asks for one")
    kind, _, have = (libc.value or "").partition(" ")
    for what, floor, held in (
        ("GLIBC", highest(one.glibc for one in read), have if kind == "glibc" else None),
        ("GLIBCXX", highest(one.glibcxx for one in read), given),
    ):
        need, own = parsed(floor), parsed(held)
        if need and own and own < need:
            library = next(one for one in read if floor in {one.glibc, one.glibcxx})
            text = f"{library.file} of {package} needs {what}_{floor}, here is {what}_{held}"
            return no("glibc-too-old", text, Because(text, READ, "inspected"), libc.because)
    if libc.value is None:
        return unknown(libc.reason)
    return yes(f"the system's libraries are new enough for {package}")


def highest(versions: Iterable[str | None]) -> str | None:
    """Return the newest of dotted versions; None where there is none."""
    known = [(version, text) for text in versions if text and (version := parsed(text))]
    return max(known)[1] if known else None


def _by_number(arch: str) -> tuple[int, str]:
    digits = "".join(filter(str.isdigit, arch))
    return int(digits or 0), arch
