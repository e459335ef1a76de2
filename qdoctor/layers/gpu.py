"""Layers of the hardware: is there a GPU, does the driver still serve it, what can it multiply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.implied_devices import NVIDIA, branch_of
from qdoctor.layers.answer import Answer, no, unknown, yes
from qdoctor.model import Because

if TYPE_CHECKING:
    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix
    from qdoctor.model import Gpu


def gpu_present(machine: Machine, matrix: Matrix) -> Answer:
    """Is there an NVIDIA GPU that the process may see?"""
    known = machine.gpus
    if known.value is None:
        return _by_system(machine, matrix) or _by_driver(machine) or unknown(known.reason)
    gpu = machine.gpu
    if gpu is None:
        return no("no-cuda-gpu", _why_none(known.value), known.because)
    if gpu.vendor is None and gpu.sm is None and gpu.name is not None:
        return unknown(f"whether {gpu.name} is an NVIDIA GPU is not known")
    return yes(f"{gpu.name or 'an NVIDIA GPU'} is there", known.because)


def _by_system(machine: Machine, matrix: Matrix) -> Answer | None:
    """Answer for an operating system that has no CUDA at all."""
    table = matrix.table("systems")
    row = table["rows"].get(machine.os.value)
    if row is None:
        return None
    because = Because(row["why"], table["sources"][row["source"]], row["strength"])
    return no("no-cuda-gpu", row["why"], because, machine.os.because)


def _by_driver(machine: Machine) -> Answer | None:
    """Answer where only a driver is stated: its tools tell its version beside a GPU only."""
    stated = machine.facts.driver
    if stated is None or not (stated.version or stated.cuda) or machine.driver_assumed:
        return None
    driver = f"{stated.version or ''}{f' for CUDA {stated.cuda}' if stated.cuda else ''}".strip()
    text = f"the driver {driver} answers, which it does only beside an NVIDIA GPU"
    return yes(text, Because(text, "facts: driver", "inspected"))


def driver_knows_gpu(machine: Machine, matrix: Matrix) -> Answer:
    """Does the driver's branch still serve this GPU's architecture?"""
    sm, version = machine.sm, machine.driver_version.value
    if sm.value is None:
        return unknown(sm.reason)
    dropped = matrix.table("drivers")["last_branch"].get(sm.value)
    if dropped is None:
        return yes(f"no driver branch has dropped SM {sm.value}", sm.because)
    if not version or not branch_of(version).isdigit():
        return _undecided_branch(machine)
    last = dropped["branch"]
    text = f"branch {last} is the last one for {dropped['architecture']} (SM {sm.value})"
    because = (
        matrix.because_row("drivers", last, text)
        if last in matrix.table("drivers")["rows"]
        else None
    )
    if int(branch_of(version)) > int(last):
        return no("driver-dropped-gpu", f"driver {version} is too new: {text}", because, sm.because)
    return yes(f"driver {version} still serves SM {sm.value}", because)


def int8_tensor_cores(machine: Machine, matrix: Matrix) -> Answer:
    """Has this GPU int8 matrix units?"""
    gpu = machine.gpu
    if gpu is not None and _without_tensor_cores(gpu, matrix):
        text = f"{gpu.name} has SM {gpu.sm} but no tensor cores"
        return no("sm75-without-tensor-cores", text, machine.sm.because)
    return _ability(machine, matrix, "int8_mma", "sm-lacks-int8-tensor-cores", "int8 matrix units")


def bf16_supported(machine: Machine, matrix: Matrix) -> Answer:
    """Does this GPU multiply bfloat16 in hardware?"""
    return _ability(machine, matrix, "bf16", "bf16-needs-sm80", "bfloat16 matrix units")


def fp8_tensor_cores(machine: Machine, matrix: Matrix) -> Answer:
    """Does this GPU multiply fp8 (e4m3) in hardware?"""
    return _ability(machine, matrix, "fp8_e4m3", "fp8-needs-sm89", "fp8 matrix units")


def _ability(machine: Machine, matrix: Matrix, name: str, rule: str, words: str) -> Answer:
    """Look an ability of the judged GPU's SM up in the table ``sm``."""
    sm = machine.sm
    if sm.value is None:
        return unknown(sm.reason)
    row = matrix.row("sm", sm.value)
    if row is None or row.get(name) is None:
        return unknown(f"whether SM {sm.value} has {words} is not known")
    label = f"{machine.gpu.name or 'this GPU'} (SM {sm.value})" if machine.gpu else f"SM {sm.value}"
    text = f"{label} {'has' if row[name] else 'has no'} {words}"
    because = matrix.because_row("sm", sm.value, text)
    return yes(text, because) if row[name] else no(rule, text, because, sm.because)


def _without_tensor_cores(gpu: Gpu, matrix: Matrix) -> bool:
    """Say whether every model of that name lacks the tensor cores that its SM promises."""
    rows = matrix.gpus_named(gpu.name) if gpu.name else []
    return (
        bool(rows)
        and all(row.tensor_cores is False and row.sm == gpu.sm for row in rows)
        and _promised(gpu, matrix)
    )


def _promised(gpu: Gpu, matrix: Matrix) -> bool:
    row = matrix.row("sm", gpu.sm) if gpu.sm else None
    return bool(row and row.get("tensor_cores"))


def _undecided_branch(machine: Machine) -> Answer:
    if machine.driver_assumed:
        return yes("a driver that serves this GPU is assumed")
    if machine.driver_cuda.value:
        return yes(
            f"the driver, which serves CUDA {machine.driver_cuda.value}, is taken to know the GPU"
        )
    return unknown(machine.driver_version.reason or "the driver's version is not known")


def _why_none(gpus: list[Gpu]) -> str:
    others = [gpu for gpu in gpus if gpu.vendor not in (None, NVIDIA) or gpu.arch]
    if others:
        names = ", ".join(gpu.name or gpu.arch or str(gpu.vendor) for gpu in others)
        return f"there is no NVIDIA GPU; there is {names}"
    if gpus:
        return "every NVIDIA GPU is hidden from the process (CUDA_VISIBLE_DEVICES)"
    return "there is no NVIDIA GPU"
