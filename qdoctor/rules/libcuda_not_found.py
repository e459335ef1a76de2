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
name the folder in LD_LIBRARY_PATH (for triton in TRITON_LIBCUDA_PATH, for a linker in
LIBRARY_PATH). In a container, start it with the driver's libraries: `--gpus all` and
NVIDIA_DRIVER_CAPABILITIES=compute,utility.

## When to ignore
Never, if the GPU is to be used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor.layers.driver import libcuda_found
from qdoctor.model import Finding
from qdoctor.rules.affected import needing, resting_on
from qdoctor.rules.build_tools import of_this_system
from qdoctor.rules.case import Suspicion, quoted, rule, suspect
from qdoctor.rules.libcuda_remedies import for_linker, in_folder, remedies
from qdoctor.rules.observed import what_happened
from qdoctor.rules.of_text import of_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Observation
    from qdoctor.rules.case import Case

NAME = "libcuda-not-found"
_OF_TRITON_WINDOWS = "triton-windows-without-cuda"
_OF_TEXTS = of_texts(NAME, __doc__, severity="warning", undecided="where the driver's libcuda lies")


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
    told = list(_OF_TEXTS.find(case)) if answer.value != "no" else []
    if told:
        yield from (msgspec.structs.replace(one, fixes=in_folder(case, one.fixes)) for one in told)
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
        fixes=remedies(case),
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
        fixes=for_linker(case),
        affects=list(dict.fromkeys([*affects, *_triton(case)])),
    )


def _triton(case: Case) -> list[str]:
    return needing(case, "triton_can_compile")


RULE = rule(NAME, __doc__, find)
