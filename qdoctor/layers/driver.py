"""Layer of the driver: does it serve the CUDA version that torch was built for?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers.answer import Answer, no, unknown, yes
from qdoctor.model import Because
from qdoctor.released import parsed

if TYPE_CHECKING:
    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix

_TOO_OLD = "driver-too-old"


def driver_serves_torch(machine: Machine, matrix: Matrix) -> Answer:
    """Does the driver serve torch's CUDA version, by itself or by minor-version compatibility?"""
    wanted, ceiling = machine.torch_cuda, machine.driver_cuda
    if wanted.value == "":
        return yes("torch is a build without CUDA and asks for no driver", wanted.because)
    if wanted.value is None:
        return unknown(wanted.reason)
    if machine.driver_assumed:
        return yes("a driver that is new enough is assumed")
    if ceiling.value == "":
        return no("no-cuda-gpu", "there is no GPU driver", ceiling.because)
    if ceiling.value is None:
        return unknown(ceiling.reason)
    return _compared(machine, matrix, wanted.value, ceiling.value)


def _compared(machine: Machine, matrix: Matrix, wanted: str, ceiling: str) -> Answer:
    need, have = parsed(wanted), parsed(ceiling)
    if need is None or have is None:
        return unknown(f"CUDA versions {wanted!r} and {ceiling!r} cannot be compared")
    because = machine.driver_cuda.because
    if have >= need:
        return yes(f"the driver serves CUDA {ceiling}, torch needs {wanted}", because)
    minimum = _minimum(machine, matrix, wanted)
    if minimum is None:
        return unknown(f"the oldest driver for CUDA {wanted} is not known")
    row = matrix.because_row("cuda", wanted, f"CUDA {wanted} needs driver {minimum} or newer")
    if _any_reaches(_drivers(machine, matrix, ceiling), minimum):
        text = f"CUDA {wanted} runs on this driver by minor-version compatibility"
        return yes(text, row, because)
    version = machine.driver_version.value
    said = f"driver {version}" if version else "the driver"
    text = f"{said} serves CUDA {ceiling}, torch is built for {wanted} (driver {minimum} or newer)"
    return no(_TOO_OLD, text, because, row, machine.torch_cuda.because)


def _any_reaches(versions: list[str], minimum: str) -> bool:
    floor = parsed(minimum)
    known = [one for text in versions if (one := parsed(text))]
    return floor is not None and any(one >= floor for one in known)


def _minimum(machine: Machine, matrix: Matrix, wanted: str) -> str | None:
    row = matrix.row("cuda", wanted)
    system = "windows" if machine.os.value == "windows" else "linux"
    return row[f"minimum_{system}"] if row else None


def _drivers(machine: Machine, matrix: Matrix, ceiling: str) -> list[str]:
    """Return what the driver is: its version, and the one that came with the CUDA it serves."""
    row = matrix.row("cuda", ceiling)
    system = "windows" if machine.os.value == "windows" else "linux"
    stated = [machine.driver_version.value, row.get(f"driver_{system}") if row else None]
    return [one for one in stated if one]


def libcuda_found(machine: Machine, matrix: Matrix) -> Answer:  # noqa: ARG001
    """Does the loader find the driver's own libcuda, where there is a driver?"""
    driver = machine.facts.driver
    path = driver.libcuda if driver else None
    if machine.driver_version.value == "":
        return yes("there is no driver whose library could be found")
    if path is None:
        return unknown("which libcuda the loader would find is not known")
    because = Because(f"libcuda is {path!r}", "facts: driver.libcuda", "inspected")
    if not path:
        return no("libcuda-not-found", "the loader finds no libcuda.so.1", because)
    if "stubs" in path.split("/"):
        text = f"the loader finds a stub first, {path}"
        return no("libcuda-not-found", text, because)
    return yes(f"the loader finds {path}", because)
