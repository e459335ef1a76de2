"""torch holds no kernels for this GPU.

## What it finds
A torch build whose list of SMs has neither the GPU's own, nor one of the same major below it, nor
PTX that the driver could compile for it: the GPU is too new for the build, or was dropped from it.

## Why it hurts
Every operation on the GPU fails with `no kernel image is available for execution on the device`.

## How we know
The list is read from torch's files (the arch flags in `libtorch_python`), installed or released;
the GPU's SM from the driver, or from its name.

## Fix
Install another build of the same torch release whose kernels cover the GPU, or the nearest release
that has one.

## When to ignore
If the GPU is not used, or another GPU of the machine is (CUDA_VISIBLE_DEVICES).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor.layers import Answer, torch_has_sm
from qdoctor.layers.sms import is_integrated
from qdoctor.model import Finding, Fix
from qdoctor.released import called
from qdoctor.rules.affected import needing
from qdoctor.rules.amd import on_amd, taken_for_another
from qdoctor.rules.case import rule, suspect
from qdoctor.rules.remedies import by_hand
from qdoctor.rules.torch_builds import built_elsewhere, of_the_maker, offers, tags_of
from qdoctor.rules.what_if import with_package, without_python

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "torch-no-sm-binary"
_SAYS_SO = "sm-not-compatible"
_NOBODY = "no known build of torch serves this GPU"


def find(case: Case) -> Iterator[Finding]:
    """Report a torch build without kernels for the GPU that is judged."""
    suspicion = suspect(case, NAME, torch_serves(case))
    if suspicion is None or (suspicion.undecided and made_for_here(case)):
        return
    builds = offers(case, "this build holds kernels for the GPU", verify=NAME)
    if on_amd(case):
        builds = [taken_for_another(case, NAME), _newer_rocm()]
    yield Finding(
        rule=NAME,
        severity="error",
        title=_title(case),
        because=suspicion.because,
        fixes=builds
        or _of_a_board(case)
        or _on_another_python(case)
        or [by_hand("change-hardware", _NOBODY)],
        affects=["gpu", *needing(case, "gpu_present")],
        undecided=suspicion.undecided,
    )


def torch_serves(case: Case) -> Answer:
    """Ask the layer; where release or build is not known, what all candidates have in common.

    Torch's own word that it does not serve the GPU outweighs what was listed of it.
    """
    answer, cuda = case.ask(torch_has_sm), case.machine.torch_cuda.value
    if answer.value == "yes" and any(one.signature == _SAYS_SO for one in case.signals_of(NAME)):
        return Answer("unknown", "whether the torch that runs is the one whose SMs were listed")
    own = (case.machine.torch.value or "").partition("+")[0]
    if answer.value != "unknown" or bool(own) == bool(cuda):
        return answer
    tag = "cu" + cuda.replace(".", "") if cuda else None
    known = [own] if own else [str(one) for one in case.matrix.versions("torch")]
    machines = [
        with_package(case.machine, case.matrix, "torch", f"{one}+{build}")
        for one in known
        for build in tags_of(case, one)
        if tag in {None, build}
    ]
    said = [torch_has_sm(one, case.matrix) for one in machines]
    one_word = {one.value for one in said}
    return said[-1] if one_word in ({"no"}, {"yes"}) else answer


def made_for_here(case: Case) -> bool:
    """Say whether torch was built elsewhere than by PyTorch, and does not say itself that it lacks.

    Who builds torch (NVIDIA for its boards and containers) builds it for the GPUs it is to run on.
    """
    says_so = any(one.signature == _SAYS_SO for one in case.signals_of(NAME))
    return built_elsewhere(case.machine.torch.value) and not says_so


def _of_a_board(case: Case) -> list[Fix]:
    """Offer the maker's builds for an integrated GPU: other wheels are for servers."""
    sm = case.machine.sm.value
    return of_the_maker(case, verify=NAME) if sm and is_integrated(sm, case.matrix) else []


def _on_another_python(case: Case) -> list[Fix]:
    """Offer the build that serves the GPU, though not on this Python, and the way to another."""
    python = case.machine.python.value
    if python is None:
        return []
    machine = without_python(case.machine, case.matrix)
    anywhere = msgspec.structs.replace(case, machine=machine, answers={})
    builds = offers(anywhere, "this build holds kernels for the GPU", verify=NAME)
    why = f"the builds that serve this GPU have no wheel for Python {python}"
    return [*builds, by_hand("use-python", why, verify=NAME)] if builds else []


def _newer_rocm() -> Fix:
    why = "newer builds for ROCm hold code for more GPUs"
    return Fix(action="upgrade", package="torch", why=why, verify=NAME)


def _title(case: Case) -> str:
    gpu, torch = case.machine.gpu, case.machine.torch.value
    named = f"{gpu.name or 'the GPU'} (SM {gpu.sm or '?'})" if gpu else "the GPU"
    return f"{called('torch', torch)} holds no kernels for {named}"


RULE = rule(NAME, __doc__, find)
