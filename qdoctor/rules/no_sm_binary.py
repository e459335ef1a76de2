"""An installed package holds no kernels for this GPU.

## What it finds
A package with GPU code (flash-attn, xformers, vllm, torchao, an extension of one's own) of whose
libraries none has machine code for the GPU's SM, nor for an older minor of the same major, nor PTX
that the driver could compile for it. For torch and bitsandbytes there are rules of their own.

## Why it hurts
Its kernels fail with `no kernel image is available for execution on the device`, mostly not at
import but at the first call.

## How we know
The SMs are read from the `.nv_fatbin` sections of the installed libraries. That one library of
several does not serve the GPU is no problem: some are made for certain GPUs.

## Fix
Install a release that was built for this GPU, or build the package from source for its SM.

## When to ignore
If the package is not used on this GPU, or only for what it does without these kernels: a note says
so where that is known (torchao).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import Version

from qdoctor.layers import torch_has_sm
from qdoctor.layers.natives import archs, libraries_of, package_has_sm, packages_with_code
from qdoctor.model import Because, Finding, Fix
from qdoctor.released import parsed
from qdoctor.rules.affected import running
from qdoctor.rules.case import quoted, rule, suspect
from qdoctor.rules.extensions import extensions_left
from qdoctor.rules.of_text import of_texts
from qdoctor.rules.remedies import by_hand, pip
from qdoctor.rules.torch_no_sm_binary import made_for_here, torch_serves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case, Signal

NAME = "no-sm-binary"
_OF_TEXTS = of_texts(NAME, __doc__, severity="warning")
_OTHERS = {"torch", "bitsandbytes"}
_DISTRIBUTIONS = {"flash-attention": "flash-attn", "mamba": "mamba-ssm"}
"""What the source folder of a package is called, where the package is called otherwise."""
_OPTIONAL = "optional_kernels"
_NO_IMAGE = "no-kernel-image"
_SAGE = "sageattention"
_SAGE_2_NEEDS = Version("8.0")
_SAGE_REFUSES = "sageattention-refuses-gpu"
_SAGE_NOT_BUILT = "sageattention-not-built"
_BY_CAPABILITY = {
    "method-needs-newer-gpu": "this way of quantizing",
    "kernel-needs-newer-gpu": "what the program asks for",
    _SAGE_REFUSES: "SageAttention 2",
    _SAGE_NOT_BUILT: "SageAttention 2",
}
"""The texts by which a program refuses a GPU, and what it refuses, where no text names it."""


def find(case: Case) -> Iterator[Finding]:
    """Report each package whose libraries hold no code for the GPU that is judged."""
    for package in packages_with_code(case.machine):
        if package in _OTHERS:
            continue
        suspicion = suspect(case, NAME, package_has_sm(case.machine, package))
        if suspicion is None:
            continue
        optional = _optional(case, package)
        yield Finding(
            rule=NAME,
            severity="note" if optional else "warning",
            title=f"{package} holds no kernels for SM {case.machine.sm.value or '?'}",
            because=[*suspicion.because, *optional],
            fixes=_fixes(case, package),
            undecided=suspicion.undecided,
        )
    yield from _OF_TEXTS.find(case)
    yield from _refused(case)
    yield from _elsewhere(case)


def _refused(case: Case) -> Iterator[Finding]:
    """Report a GPU that a program refuses by its SM, as its text says."""
    for signal in case.signals_of(NAME):
        if "package" in signal.said:
            yield _of_package(case, signal)
        if signal.signature not in _BY_CAPABILITY:
            continue
        method = signal.said.get("method", _BY_CAPABILITY[signal.signature])
        named = (case.machine.gpu.name if case.machine.gpu else None) or "this GPU"
        why = f"{method} has kernels for {_served(signal)} only"
        yield Finding(
            rule=NAME,
            severity="note",
            title=f"{method} has no kernels for {named} (SM {case.machine.sm.value or '?'})",
            because=[quoted(signal)],
            fixes=[
                *(_of_sageattention(case, signal) or running(case, why, "bnb-nf4", "half")),
                by_hand("change-hardware", why, verify=NAME),
            ],
        )


def _elsewhere(case: Case) -> Iterator[Finding]:
    """Report the extension that is left where a kernel is missing and torch has its own."""
    texts = [one for one in case.signals_of(NAME) if one.signature == _NO_IMAGE]
    left = extensions_left(case) if texts else []
    if texts and not left and case.ask(torch_has_sm).value == "unknown" and made_for_here(case):
        yield _beside_a_torch_made_here(case, texts)
    if not left:
        return
    one = left[0] if len(left) == 1 else None
    yield Finding(
        rule=NAME,
        severity="warning",
        title=f"{one or 'an extension'} holds no kernels for SM {case.machine.sm.value or '?'}",
        because=[*map(quoted, texts), *_torch_has(case)],
        fixes=_fixes(case, one or ""),
        undecided=None if one else f"which of {', '.join(left)} launched the kernel",
    )


def _beside_a_torch_made_here(case: Case, texts: list[Signal]) -> Finding:
    """Report an extension that is not named, beside a torch that was built for such machines."""
    torch = case.machine.torch
    return Finding(
        rule=NAME,
        severity="warning",
        title=f"an extension holds no kernels for SM {case.machine.sm.value or '?'}",
        because=[*map(quoted, texts), *([torch.because] if torch.because else [])],
        fixes=_fixes(case, ""),
        undecided="which SMs this build of torch has, and which package launched the kernel",
    )


def _torch_has(case: Case) -> list[Because]:
    """Cite what torch holds: of all that may be installed, where the release is not known."""
    found = list(torch_serves(case).because)
    if case.machine.torch.value:
        return found
    said = "each torch that may be installed has code for this GPU; the newest"
    return [Because(f"{said}: {one.text}", one.source, one.strength) for one in found]


def _of_package(case: Case, signal: Signal) -> Finding:
    """Report the package in whose sources a kernel was launched that it does not hold."""
    source = signal.said["package"]
    package = _DISTRIBUTIONS.get(source, source)
    why = "a newer release may hold kernels for this GPU"
    off = Fix(action="disable", why=f"without {package} torch's own attention runs")
    return Finding(
        rule=NAME,
        severity="warning",
        title=f"{package} holds no kernel for this GPU (SM {case.machine.sm.value or '?'})",
        because=[quoted(signal)],
        fixes=[pip("upgrade", package, "", why, verify=NAME), _fixes(case, package)[-1], off],
        undecided=None if case.machine.sm.value else case.machine.sm.reason,
    )


def _served(signal: Signal) -> str:
    return "other GPUs" if signal.signature == _SAGE_REFUSES else "newer GPUs"


def _of_sageattention(case: Case, signal: Signal) -> list[Fix]:
    """Offer the SageAttention that serves this GPU; [] where a text is not about it."""
    off = Fix(action="disable", why="switch SageAttention off in the program's settings")
    if signal.signature == _SAGE_NOT_BUILT:
        return [_fixes(case, _SAGE)[-1], off]
    if signal.signature != _SAGE_REFUSES:
        return []
    sm = parsed(case.machine.sm.value)
    if sm is None or sm >= _SAGE_2_NEEDS:
        why = "a newer release of SageAttention may have kernels for this GPU"
        return [pip("upgrade", _SAGE, "", why, verify=NAME, applicability="unsafe"), off]
    why = f"SageAttention 1 is written in Triton; 2 needs SM {_SAGE_2_NEEDS}"
    return [pip("downgrade", _SAGE, "<2", why, verify=NAME, applicability="unsafe"), off]


def _optional(case: Case, package: str) -> list[Because]:
    """Say what runs without a package's libraries, where that is known (table)."""
    row = case.matrix.row(_OPTIONAL, package)
    return [case.matrix.because_row(_OPTIONAL, package, row["text"])] if row else []


def _fixes(case: Case, package: str) -> list[Fix]:
    sm = case.machine.sm.value or ""
    version = case.machine.package(package).value
    build = Fix(
        action="rebuild",
        package=package if version else None,
        name="TORCH_CUDA_ARCH_LIST",
        value=sm or None,
        command=_command(package, version, sm) if version and sm else None,
        why=f"built from source for SM {sm or '?'} it holds kernels for this GPU",
        applicability="unsafe" if version else "display-only",
        verify=NAME,
    )
    if not version or not _older_than_gpu(case, package, sm):
        return [build]
    why = f"{version} knows older GPUs only; a newer release may know this one"
    newer = Fix(
        action="upgrade",
        package=package,
        spec=f">{version.partition('+')[0]}" if version[0].isdigit() else None,
        why=why,
        verify=NAME,
    )
    return [newer, build]


def _command(package: str, version: str, sm: str) -> str:
    return (
        f'TORCH_CUDA_ARCH_LIST="{sm}" python -m pip install --force-reinstall --no-deps '
        f'--no-build-isolation --no-binary {package} "{package}=={version}"'
    )


def _older_than_gpu(case: Case, package: str, sm: str) -> bool:
    """Say whether everything that the package holds is for GPUs before this one."""
    numbers = [
        int(arch.rpartition("_")[2].rstrip("af"))
        for one in libraries_of(case.machine, package)
        for arch in archs(one)
    ]
    own = sm.replace(".", "")
    return own.isdigit() and bool(numbers) and max(numbers) < int(own)


RULE = rule(NAME, __doc__, find, symptom_of=("torch-no-sm-binary",))
