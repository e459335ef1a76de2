"""No CUDA GPU: quantized kernels that need one cannot run here.

## What it finds
A machine without an NVIDIA GPU, or with one that CUDA_VISIBLE_DEVICES hides. Devices of other
vendors are named, never called no GPU.

## Why it hurts
Most quantization kernels are written for NVIDIA GPUs. Without one a library falls back to the CPU,
refuses to import, or fails at the first product, often with a text about something else.

## How we know
The driver lists no device (NVML, else what the kernel reports), or the described machine has none;
Docker and the driver's tools say so in texts of their own.

## Fix
Run on a machine with an NVIDIA GPU, or show one to the process; a current bitsandbytes also
quantizes on the CPU.

## When to ignore
On build machines and laptops that only prepare what runs elsewhere: it is a note until a GPU, or
a backend that needs one, is asked for with `--need`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor.layers import driver_serves_torch, gpu_present, torch_has_cuda
from qdoctor.model import Finding, Fix, Gpu, Host
from qdoctor.rules.affected import needing_gpu, stands_up
from qdoctor.rules.amd import on_amd
from qdoctor.rules.case import quoted, rule, suspect
from qdoctor.rules.of_text import of_texts
from qdoctor.rules.remedies import by_hand, unset, use

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "no-cuda-gpu"
_TOLD = of_texts(NAME, __doc__, severity="error")
_MAC = "macos"
_HIDING = "CUDA_VISIBLE_DEVICES"
_SEES_NONE = {"no-gpus-available", "no-nvidia-driver"}
"""Texts in which CUDA itself finds no GPU, whatever is installed."""
_CUDA_BUILD = {"no-nvidia-driver"}
"""Texts that only a torch for CUDA prints: one for ROCm speaks of HIP."""
_CUDA_TAG = "+cu"
"""How the local part of such a torch's version begins."""
_SAYS_FALSE = {"cuda-checkpoint-without-cuda", "cuda-available-false"}
"""Texts that a torch without CUDA prints as well."""


def find(case: Case) -> Iterator[Finding]:
    """Report a machine whose process sees no CUDA GPU."""
    told = [_container_first(case, one) for one in _TOLD.find(case)]
    yield from told
    if told:
        return
    suspicion = suspect(case, NAME, case.ask(gpu_present))
    if suspicion is None:
        yield from _unseen(case)
        return
    yield Finding(
        rule=NAME,
        severity="note",
        title=_title(case),
        because=suspicion.because,
        fixes=list(_fixes(case)),
        affects=["gpu", *needing_gpu(case)],
        undecided=suspicion.undecided,
    )


def _container_first(case: Case, one: Finding) -> Finding:
    """Lead with how the container is started, in one: it has no driver of its own to install."""
    if not (case.machine.facts.host or Host()).container:
        return one
    fixes = sorted(one.fixes, key=lambda fix: fix.action != "run")
    return msgspec.structs.replace(one, fixes=fixes)


def _unseen(case: Case) -> Iterator[Finding]:
    """Report a GPU that is there and that the process does not see, as its text says."""
    cuda = case.ask(torch_has_cuda).value
    counting = _SEES_NONE | _SAYS_FALSE if cuda == "yes" else _SEES_NONE
    texts = [one for one in case.signals_of(NAME) if one.signature in counting]
    other = "no" in {cuda, case.ask(driver_serves_torch).value}
    if not texts or other:
        return
    host = case.machine.facts.host or Host()
    gpu = (case.machine.gpu.name if case.machine.gpu else None) or "the GPU"
    container = by_hand("run", "in a container: start it with --gpus all", verify=NAME)
    hidden = unset(_HIDING, "an empty or wrong value hides every GPU from the process", verify=NAME)
    restart = by_hand("run", "restart: a driver that was just upgraded answers nobody", verify=NAME)
    yield Finding(
        rule=NAME,
        severity="error",
        title=f"the process does not see {gpu}, which is there",
        because=[*map(quoted, texts[:1]), *case.ask(gpu_present).because[:1]],
        fixes=[container, hidden, restart] if host.container else [hidden, container, restart],
        affects=["gpu", *needing_gpu(case)],
        undecided="what nvidia-smi says where the process runs",
    )


def _title(case: Case) -> str:
    others = [gpu.name or gpu.arch or "a GPU of another vendor" for gpu in _listed(case)]
    if _hidden(case):
        return f"the CUDA GPU is hidden from this process by {_HIDING}"
    if case.machine.os.value == _MAC and not others:
        return "no CUDA GPU here: no Mac has one that CUDA still serves"
    return f"no CUDA GPU here (there is {', '.join(others)})" if others else "no CUDA GPU here"


def _fixes(case: Case) -> Iterator[Fix]:
    if _hidden(case):
        yield unset(_HIDING, "it hides every GPU from this process", verify=NAME)
        return
    if on_amd(case) and case.signals_of(NAME):
        yield from _of_amd(case)
    if _in_wsl(case) and case.signals_of(NAME):
        why = "WSL 1 has no GPU: `wsl -l -v` tells which it is, `wsl --set-version NAME 2` moves it"
        yield by_hand("upgrade-os", why, verify=NAME)
        why = "NVIDIA's driver for Windows: it serves WSL as well, inside which none is installed"
        yield by_hand("upgrade-driver", why, verify=NAME)
    why = "kernels of this kind run on NVIDIA GPUs only"
    other = by_hand("change-hardware", why, verify=NAME)
    here = [
        use(backend, "it runs on the CPU of this machine", verify=backend)
        for backend in ("bnb-int8", "half")
        if stands_up(case, backend)
    ]
    unasked = case.machine.os.value == _MAC and not case.signals_of(NAME)
    yield from [*here, other] if unasked else [other, *here]


def _of_amd(case: Case) -> Iterator[Fix]:
    """Offer a build for ROCm, unless torch is one; and the devices that one needs on Linux."""
    windows = case.machine.os.value == "windows"
    of_cuda = any(one.signature in _CUDA_BUILD for one in case.signals_of(NAME))
    if windows or of_cuda or _CUDA_TAG in (case.machine.torch.value or ""):
        why = "a build for ROCm uses this GPU, where AMD serves it on this system"
        build = by_hand("install-matching", why, verify=NAME)
        yield msgspec.structs.replace(build, package="torch")
    if not windows:
        why = "let the process reach /dev/kfd and /dev/dri: be in the groups render and video; "
        yield by_hand("run", f"{why}docker run --device /dev/kfd --device /dev/dri", verify=NAME)


def _in_wsl(case: Case) -> bool:
    """Say whether this is Linux inside Windows, whose GPUs nobody listed."""
    host = case.machine.facts.host or Host()
    return bool(host.wsl) and case.machine.facts.gpus is None


def _hidden(case: Case) -> bool:
    return any(gpu.visible is False and gpu.vendor in (None, "nvidia") for gpu in _listed(case))


def _listed(case: Case) -> list[Gpu]:
    return case.machine.gpus.value or case.machine.facts.gpus or []


RULE = rule(NAME, __doc__, find)
