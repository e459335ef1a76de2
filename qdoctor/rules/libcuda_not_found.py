"""The driver's library libcuda is not where it is looked for.

## What it finds
A machine with an NVIDIA driver on which the loader finds no `libcuda.so.1`, or a toolkit's stub of
it first; and a linker that finds no `libcuda.so`, which triton's launcher is linked with.

## Why it hurts
torch sees no GPU, libraries do not load (`libcuda.so.1: cannot open shared object file`), and
Triton kernels fail with `cannot find -lcuda` or `libcuda.so cannot found`.

## How we know
The loader's way is followed: LD_LIBRARY_PATH, its cache, the default folders; the driver itself is
seen in /proc or by its devices. The probe `triton_toolchain` links as triton does.

## Fix
Refresh the loader's cache (`ldconfig`, with the driver's folder where it is not a default one), or
name the folder in LD_LIBRARY_PATH (for triton in TRITON_LIBCUDA_PATH). In a container, start it
with the driver's libraries: `--gpus all` and NVIDIA_DRIVER_CAPABILITIES=compute,utility.

## When to ignore
Never, if the GPU is to be used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers.driver import libcuda_found
from qdoctor.model import Driver, Finding, Fix, Host
from qdoctor.rules.affected import needing, resting_on
from qdoctor.rules.build_tools import of_this_system
from qdoctor.rules.case import Suspicion, quoted, rule, suspect
from qdoctor.rules.observed import what_happened
from qdoctor.rules.remedies import by_hand, unset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Observation
    from qdoctor.rules.case import Case

NAME = "libcuda-not-found"
_OF_TRITON_WINDOWS = "triton-windows-without-cuda"
_PATH = "LD_LIBRARY_PATH"
_OF_WSL = "/usr/lib/wsl/lib"
"""Where Windows puts its driver's libraries into Linux (NVIDIA, CUDA on WSL User Guide)."""


def find(case: Case) -> Iterator[Finding]:
    """Report a libcuda that the loader or triton's linker does not find."""
    if case.machine.os.value == "windows":
        yield from _of_windows(case)
        return
    seen = [one for one in case.observations if one.code == NAME]
    answer = case.ask(libcuda_found)
    if seen and answer.value != "no":
        yield from _of_linker(case, seen)
        return
    suspicion = suspect(case, NAME, answer)
    if suspicion is None:
        return
    sure = answer.value == "no"
    yield Finding(
        rule=NAME,
        severity="error",
        title=answer.reason if sure else "libcuda.so is not found",
        because=suspicion.because,
        fixes=_fixes(case),
        affects=["gpu", *needing(case, "gpu_present")] if sure else _triton(case),
        undecided=suspicion.undecided,
    )


def _of_windows(case: Case) -> Iterator[Finding]:
    """Report what triton links with there; the driver's own library has another name."""
    texts = [one for one in case.signals_of(NAME) if one.signature == _OF_TRITON_WINDOWS]
    if texts:
        yield Finding(
            rule=NAME,
            severity="warning",
            title="triton links with cuda.lib and does not find it",
            because=[quoted(one) for one in texts],
            fixes=of_this_system(case, NAME),
            affects=_triton(case),
        )


def _of_linker(case: Case, seen: list[Observation]) -> Iterator[Finding]:
    """Report what the probe saw: the loader finds libcuda.so.1, the linker no libcuda.so."""
    texts = suspect(case, NAME, case.ask(libcuda_found)) or Suspicion([])
    affects = [name for one in seen for name in (one.probe, *resting_on(case, one))]
    yield Finding(
        rule=NAME,
        severity="warning",
        title="triton links with libcuda.so and does not find it",
        because=[*(what_happened(one) for one in seen[:1]), *texts.because],
        fixes=_for_linker(case),
        affects=list(dict.fromkeys([*affects, *_triton(case)])),
    )


def _triton(case: Case) -> list[str]:
    return needing(case, "triton_can_compile")


def _for_linker(case: Case) -> list[Fix]:
    driver = case.machine.facts.driver or Driver()
    folder = (driver.libcuda or "").rpartition("/")[0] or None
    link = Fix(
        action="symlink",
        name="libcuda.so",
        value=driver.libcuda or "libcuda.so.1",
        command=f"sudo ln -s libcuda.so.1 {folder}/libcuda.so" if folder else None,
        why="the linker looks for the name without a version, which the driver's package may lack",
        verify="triton_toolchain",
    )
    return [link, _ldconfig(None), _set("TRITON_LIBCUDA_PATH", folder)]


def _fixes(case: Case) -> list[Fix]:
    driver, host = case.machine.facts.driver or Driver(), case.machine.facts.host or Host()
    if _is_stub(driver.libcuda):
        why = f"{driver.libcuda} is the toolkit's stub for linking and runs nothing"
        return [unset(_PATH, why, verify=NAME)]
    folder = (driver.libcuda_elsewhere or "").rpartition("/")[0] or None
    if folder is None and host.container and driver.libcuda == "":
        why = (
            "the container was started without the driver's libraries: start it with `--gpus all` "
            "and NVIDIA_DRIVER_CAPABILITIES=compute,utility"
        )
        return [by_hand("run", why, verify=NAME), _ldconfig(None)]
    if host.wsl:
        return [_set(_PATH, folder or _OF_WSL), _ldconfig(folder or _OF_WSL)]
    return [_ldconfig(folder), _set(_PATH, folder)]


def _ldconfig(folder: str | None) -> Fix:
    return Fix(
        action="run",
        name="ldconfig",
        command=f"sudo ldconfig {folder}" if folder else "sudo ldconfig",
        why="it makes the driver's libraries known to the loader and to triton",
        verify=NAME,
    )


def _set(name: str, folder: str | None) -> Fix:
    why = "it must name the folder of the driver's libcuda"
    return Fix(action="set-env", name=name, value=folder, why=why, verify=NAME)


def _is_stub(path: str | None) -> bool:
    return "stubs" in (path or "").split("/")


RULE = rule(NAME, __doc__, find)
