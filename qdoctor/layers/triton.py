"""Layers of triton: installed, the one that torch requires, able to compile for this GPU here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier
from packaging.version import Version

from qdoctor import released
from qdoctor.layers.answer import Answer, no, together, unknown, yes
from qdoctor.layers.torch import installed
from qdoctor.released import fact, fits, parsed

if TYPE_CHECKING:
    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix


def triton_installed(machine: Machine, matrix: Matrix) -> Answer:  # noqa: ARG001
    """Is triton installed?"""
    return installed(machine, "triton", None)


def triton_matches_pin(machine: Machine, matrix: Matrix) -> Answer:
    """Is the installed triton the one that torch requires?"""
    pin, version = machine.triton_pin, machine.triton
    if pin.value is None:
        return unknown(pin.reason)
    if pin.value == "":
        return yes("torch requires no triton here", pin.because)
    if not version.value:
        return unknown(version.reason or "triton is not installed")
    try:
        inside = fits(matrix, "triton", version.value, pin.value)
    except InvalidSpecifier:
        inside = None
    if inside is None:
        return unknown(f"whether triton {version.value} is {pin.value} cannot be told")
    who = f"torch {machine.torch.value or ''}"
    text = f"{who} requires triton {pin.value}, installed is {version.value}"
    if inside:
        return yes(text, pin.because)
    return no("triton-pin-mismatch", text, pin.because, version.because)


def triton_libdevice_found(machine: Machine, matrix: Matrix) -> Answer:
    """Has this triton libdevice functions under any of their historical paths?"""
    version = machine.triton
    if not version.value:
        return unknown(version.reason or "triton is not installed")
    paths = fact(matrix, "triton", version.value, "libdevice_paths")
    if paths.value is None:
        return unknown(paths.reason)
    if not paths.value:
        text = f"triton {version.value} has no libdevice path"
        return no("triton-api-moved-other", text, paths.because)
    return yes(f"triton {version.value} has {paths.value[0]}", paths.because)


def triton_knows_sm(machine: Machine, matrix: Matrix) -> Answer:
    """Does a ptxas that comes with this triton compile for this GPU's SM?"""
    sm = machine.sm
    if sm.value is None:
        return unknown(sm.reason)
    return ptxas_knows(machine, matrix, sm.value)


def ptxas_knows(machine: Machine, matrix: Matrix, sm: str) -> Answer:
    """Does a ptxas that comes with this triton compile for ``sm``?"""
    version = machine.triton
    if not version.value:
        return unknown(version.reason or "triton is not installed")
    carried = fact(matrix, "triton", version.value, "ptxas")
    row = matrix.row("ptxas", sm)
    if carried.value is None or row is None:
        return unknown(carried.reason or f"which ptxas compiles for SM {sm} is not known")
    since, before = parsed(row["since"]), parsed(row["before"])
    known = [one for text in carried.value if (one := parsed(text))]
    held = ", ".join(carried.value)
    because = matrix.because_row(
        "ptxas", sm, f"ptxas compiles for SM {sm} from CUDA {row['since']} on"
    )
    if any(since and one >= since and (before is None or one < before) for one in known):
        return yes(
            f"triton {version.value}'s ptxas {held} compiles for SM {sm}", carried.because, because
        )
    text = f"triton {version.value}'s ptxas {held} does not compile for SM {sm}"
    return no("ptxas-too-old-for-sm", text, carried.because, because)


def triton_supports_sm(machine: Machine, matrix: Matrix) -> Answer:
    """Does triton's compiler serve GPUs as old as this one (tensor cores of any kind)?"""
    sm = machine.sm
    if sm.value is None:
        return unknown(sm.reason)
    table = matrix.table("triton_gpus")
    version = machine.triton
    if not version.value:
        return unknown(version.reason or "triton is not installed")
    row = released.row_for(matrix, table["rows"], "triton", version.value)
    own, floor = parsed(sm.value), parsed(row["minimum_sm"]) if row else None
    if row is None or own is None or floor is None:
        return unknown(f"which GPUs triton {version.value} serves is not known")
    text = f"triton {version.value} serves SM {row['minimum_sm']} and newer, this is SM {sm.value}"
    because = released.cited(table, row, text)
    return yes(text, because) if own >= floor else no("triton-min-sm", text, because, sm.because)


def triton_int8_on_sm(machine: Machine, matrix: Matrix) -> Answer:
    """Does this triton compile an int8 product for this GPU? Seen by compiling one, per release."""
    return _compiles(machine, matrix, "int8_dot", "int8 product", "sm-lacks-int8-tensor-cores")


def triton_e4m3_on_sm(machine: Machine, matrix: Matrix) -> Answer:
    """Does this triton compile a cast to fp8 e4m3 for this GPU? Seen likewise."""
    return _compiles(machine, matrix, "fp8_e4m3_cast", "e4m3 cast", "fp8-needs-sm89")


def triton_e5m2_on_sm(machine: Machine, matrix: Matrix) -> Answer:
    """Does this triton compile a cast to fp8 e5m2 for this GPU? Seen likewise."""
    return _compiles(machine, matrix, "fp8_e5m2_cast", "e5m2 cast", "fp8-needs-sm89")


def _compiles(machine: Machine, matrix: Matrix, kernel: str, what: str, too_old: str) -> Answer:
    sm, version = machine.sm, machine.triton
    if sm.value is None or not version.value:
        return unknown(sm.reason or version.reason or "triton is not installed")
    seen = fact(matrix, "triton", version.value, "compiles")
    answers = (seen.value or {}).get(kernel, {})
    said = answers.get(sm.value)
    if said is None:
        text = f"whether triton {version.value} compiles an {what} for SM {sm.value} is unknown"
        return unknown(text)
    text = f"triton {version.value} compiles {{}} {what}{{}} for SM {sm.value}"
    because = matrix.because("triton", version.value, "compiles", text.format("an", f": {said}"))
    if said == "yes":
        return yes(text.format("an", ""), because)
    rule = too_old if _serves_newer(answers, sm.value) else "no-sm-binary"
    return no(rule, text.format("no", ""), because, sm.because)


def _serves_newer(said: dict[str, str], sm: str) -> bool:
    """Say whether a newer SM than ``sm`` compiles: then ``sm`` is too old, not too new."""
    own = Version(sm)
    return any(answer == "yes" and Version(one) > own for one, answer in said.items())


def triton_can_compile(machine: Machine, matrix: Matrix) -> Answer:
    """Are Python.h and a C compiler there, with which triton builds its launcher at run time?"""
    return together(ask(machine, matrix) for ask in (c_compiler_found, python_headers_found))


def c_compiler_found(machine: Machine, matrix: Matrix) -> Answer:  # noqa: ARG001
    """Is there a C compiler where triton looks for one?"""
    compiler = machine.c_compiler
    if compiler.value is None:
        return unknown(f"triton needs a C compiler at run time: {compiler.reason}")
    if not compiler.value:
        text = "triton needs a C compiler at run time, there is none"
        return no("no-c-compiler", text, compiler.because)
    return yes("a C compiler is there", compiler.because)


def python_headers_found(machine: Machine, matrix: Matrix) -> Answer:  # noqa: ARG001
    """Is Python.h there?"""
    headers = machine.headers
    if headers.value is None:
        return unknown(f"triton includes Python.h at run time: {headers.reason}")
    if not headers.value:
        text = "triton includes Python.h at run time, which is not there"
        return no("python-headers-missing", text, headers.because)
    return yes("Python.h is there", headers.because)
