"""Layers of torch: installed, built for CUDA, holding code for this GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers.answer import Answer, no, unknown, yes
from qdoctor.layers.sms import is_integrated, runs_on

if TYPE_CHECKING:
    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix


def torch_installed(machine: Machine, matrix: Matrix) -> Answer:  # noqa: ARG001
    """Is torch installed?"""
    return installed(machine, "torch", "torch-not-installed")


def torch_has_cuda(machine: Machine, matrix: Matrix) -> Answer:
    """Is torch built for CUDA?"""
    known = machine.torch_cuda
    if known.value is None:
        return unknown(known.reason)
    if machine.installed("torch") == "no":
        return torch_installed(machine, matrix)
    if known.value == "":
        return no("torch-cpu-only", "torch is a build without CUDA", known.because)
    return yes(f"torch is built for CUDA {known.value}", known.because)


def torch_has_sm(machine: Machine, matrix: Matrix) -> Answer:
    """Does torch hold code that this GPU runs?"""
    sm, archs = machine.sm, machine.torch_sm
    if sm.value is None:
        return unknown(sm.reason)
    if machine.installed("torch") == "no":
        return torch_installed(machine, matrix)
    if machine.torch_cuda.value == "":
        return no("torch-cpu-only", "torch is a build without CUDA", machine.torch_cuda.because)
    if archs.value is None:
        return unknown(archs.reason)
    serving = runs_on(sm.value, archs.value, integrated=is_integrated(sm.value, matrix))
    if serving is None:
        held = ", ".join(archs.value) or "none"
        text = f"torch {machine.torch.value or ''} has no code for SM {sm.value} (it has {held})"
        return no("torch-no-sm-binary", text, archs.because, sm.because)
    return yes(f"torch's {serving} code runs on SM {sm.value}", archs.because)


def installed(machine: Machine, package: str, rule: str | None) -> Answer:
    """Is a package installed? ``rule`` is the problem where it is not."""
    known, answer = machine.package(package), machine.installed(package)
    if answer == "no":
        return no(rule, f"{package} is not installed", known.because)
    if answer == "unknown":
        return unknown(known.reason)
    return yes(f"{package} {known.value or ''} is installed".replace("  ", " "), known.because)
