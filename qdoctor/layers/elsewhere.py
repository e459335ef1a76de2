"""Layers of the CPU paths and of torch's fp8 product."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor import released
from qdoctor.layers.answer import Answer, no, unknown, yes
from qdoctor.layers.bnb_binaries import PACKAGE

if TYPE_CHECKING:
    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix


def bnb_int8_on_cpu(machine: Machine, matrix: Matrix) -> Answer:
    """Does Linear8bitLt of this bitsandbytes run on a CPU?"""
    return _on_cpu(machine, matrix, "int8", "Linear8bitLt")


def bnb_nf4_on_cpu(machine: Machine, matrix: Matrix) -> Answer:
    """Does an nf4 layer of this bitsandbytes run on a CPU?"""
    return _on_cpu(machine, matrix, "nf4", "an nf4 layer")


def bnb_fp4_on_cpu(machine: Machine, matrix: Matrix) -> Answer:
    """Does an fp4 layer of this bitsandbytes run on a CPU?"""
    return _on_cpu(machine, matrix, "fp4", "an fp4 layer")


def bnb_blockwise_on_cpu(machine: Machine, matrix: Matrix) -> Answer:
    """Does this bitsandbytes quantize to 8 bits in blocks on a CPU?"""
    return _on_cpu(machine, matrix, "runs", "blockwise 8-bit quantization", rows="blockwise")


def bnb_blockwise_zeros_on_cpu(machine: Machine, matrix: Matrix) -> Answer:
    """Does it do so with a block of zeros, without crashing?"""
    what = "blockwise 8-bit quantization of zeros"
    answer = _on_cpu(machine, matrix, "zeros", what, rows="blockwise")
    return msgspec.structs.replace(
        answer, rule="bnb-version-regression" if answer.value == "no" else None
    )


def fp8_supported(machine: Machine, matrix: Matrix) -> Answer:
    """Does this torch multiply fp8 on a GPU of this SM (table ``torch_fp8``)?"""
    sm, version = machine.sm, machine.torch
    if sm.value is None or not version.value:
        return unknown(sm.reason or version.reason or "torch is not installed")
    table = matrix.table("torch_fp8")
    row = released.row_for(matrix, table["rows"], "torch", version.value)
    own = released.parsed(sm.value)
    if row is None or own is None:
        return unknown(f"on which GPUs torch {version.value} multiplies fp8 is not known")
    since, floor = released.parsed(row["from"]), released.parsed(row["not_below"])
    text = row["text"].format(torch=version.value) + f"; this is SM {sm.value}"
    because = released.cited(table, row, text)
    if since is None or floor is None or own < floor:
        return no("fp8-needs-sm89", text, because, sm.because)
    return yes(text, because) if own >= since else unknown(text)


def torch_fp8_on_cpu(machine: Machine, matrix: Matrix) -> Answer:
    """Does this torch multiply fp8 on a CPU?"""
    return _of_release(machine, matrix, ("torch_fp8", "cpu"), "fp8-needs-sm89")


def switchback_on_cpu(machine: Machine, matrix: Matrix) -> Answer:
    """Does qdoctor's own SwitchBackLinear run on a CPU with this torch?"""
    return _of_release(machine, matrix, ("switchback_cpu", "rows"), None)


def _of_release(
    machine: Machine, matrix: Matrix, place: tuple[str, str], rule: str | None
) -> Answer:
    """Answer by the row of the installed torch: ``runs`` is true, false, or null for not known."""
    version, (name, rows) = machine.torch, place
    if not version.value:
        return unknown(version.reason or "torch is not installed")
    table = matrix.table(name)
    row = released.row_for(matrix, table[rows], "torch", version.value)
    if row is None:
        return unknown(f"what torch {version.value} multiplies on a CPU is not known")
    text = row["text"].format(torch=version.value)
    if row["runs"] is None:
        return unknown(text)
    because = released.cited(table, row, text)
    return yes(text, because) if row["runs"] else no(rule, text, because)


def _on_cpu(
    machine: Machine, matrix: Matrix, column: str, what: str, *, rows: str = "rows"
) -> Answer:
    version = machine.bitsandbytes
    if not version.value:
        return unknown(version.reason or f"{PACKAGE} is not installed")
    table = matrix.table("bnb_cpu")
    row = released.row_for(matrix, table[rows], PACKAGE, version.value)
    if row is None:
        return unknown(f"what {PACKAGE} {version.value} can do on a CPU is not known")
    runs = row[column] == "yes"
    text = f"{what} of {PACKAGE} {version.value} {'runs' if runs else 'does not run'} on a CPU"
    because = released.cited(table, row, text)
    return yes(text, because) if runs else no("no-cuda-gpu", text, because)
