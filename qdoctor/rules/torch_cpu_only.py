"""torch is a CPU build, so the GPU of this machine is out of reach.

## What it finds
A torch that was built without CUDA on a machine that has a CUDA GPU.

## Why it hurts
Everything that is built on torch runs on the CPU or fails: `torch.cuda.is_available()` is False,
and libraries then report missing packages, missing binaries or a missing GPU.

## How we know
The build is read from torch's own files (`torch/version.py`) or its version (`+cpu`), and on
Windows and macOS from what the package index serves by default.

## Fix
Install the CUDA build of the same release; the build is chosen for the driver and the GPU.

Where only the system's default tells of the build, and a text tells of something else, it is a
note. Where torch itself is unknown, and this system's default build has no CUDA in any release,
that is said as a note too.

## When to ignore
If this environment is meant to run on the CPU although the machine has a GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import Answer, driver_serves_torch, gpu_present, torch_has_cuda
from qdoctor.model import Because, Finding, Fix
from qdoctor.rules.affected import needing
from qdoctor.rules.amd import on_amd
from qdoctor.rules.case import quoted, rule, suspect
from qdoctor.rules.intel import build_for_intel, on_intel
from qdoctor.rules.remedies import by_hand
from qdoctor.rules.torch_builds import default_without_cuda, of_the_maker, offers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "torch-cpu-only"
_CPU = "+cpu"


def find(case: Case) -> Iterator[Finding]:
    """Report a CPU build of torch beside a CUDA GPU."""
    gpu = case.ask(gpu_present).value
    if on_amd(case):
        yield from _beside_amd(case)
        return
    if on_intel(case):
        yield from _beside_intel(case)
        return
    if gpu == "no":
        yield from _without_gpu(case)
        return
    if gpu == "unknown" and not case.signals_of(NAME):
        yield from _stated(case)
        return
    answer = _has_cuda(case)
    suspicion = suspect(case, NAME, answer)
    if suspicion is None:
        yield from _by_default(case) if answer.value == "unknown" else ()
        return
    yield Finding(
        rule=NAME,
        severity="note" if _elsewhere(case) else "error",
        title="torch is a CPU build: it cannot use the GPU",
        because=suspicion.because,
        fixes=offers(case, "a build with CUDA can use the GPU", verify=NAME)
        or of_the_maker(case, verify=NAME),
        affects=["gpu", *needing(case, "gpu_present")],
        undecided=suspicion.undecided,
    )


def _has_cuda(case: Case) -> Answer:
    """Ask the layer; the system's default build is a guess, which a text outweighs.

    A driver that does not serve that build explains such a text as well, and comes first.
    """
    answer = case.ask(torch_has_cuda)
    guessed = answer.value == "yes" and not _read(case)
    if guessed and case.signals_of(NAME) and case.ask(driver_serves_torch).value != "no":
        return Answer("unknown", "whether torch is the default build with CUDA")
    return answer


def _read(case: Case) -> bool:
    """Say whether something of torch's own tells its build, not only its release."""
    facts = case.machine.facts
    stated = facts.torch_cuda is not None or "+" in (case.machine.torch.value or "")
    inspected = any(one.package == "torch" for one in facts.native or ())
    return stated or inspected or bool(facts.torch_arch_list)


def _elsewhere(case: Case) -> bool:
    """Say whether a text tells what is wrong, and no more than the system's default tells of torch.

    Who reports such a text mostly left the build out of the version; and it is not what they ask.
    """
    return bool(case.signals) and not case.signals_of(NAME) and not _read(case)


def _without_gpu(case: Case) -> Iterator[Finding]:
    """Explain a text that only a build without CUDA prints, where no other build would help."""
    alone = [one for one in case.signals_of(NAME) if one.rules == (NAME,)]
    if not alone or case.ask(torch_has_cuda).value == "yes":
        return
    yield Finding(
        rule=NAME,
        severity="note",
        title="the program asks torch for CUDA, which is not in this build and has no GPU here",
        because=[quoted(alone[0]), *case.ask(gpu_present).because[:1]],
        fixes=[
            Fix(action="change-code", why='use the device "cpu", or "mps" on Apple silicon'),
            by_hand("change-hardware", "CUDA runs on NVIDIA GPUs only", verify=NAME),
        ],
        affects=["gpu"],
    )


def _beside_amd(case: Case) -> Iterator[Finding]:
    """Explain a text that only a build without a GPU prints, on a machine with an AMD GPU."""
    why = "a build for ROCm uses this GPU, where AMD serves it on this system"
    yield from _beside(case, "AMD", Fix("install-matching", why, package="torch", verify=NAME))


def _beside_intel(case: Case) -> Iterator[Finding]:
    """Explain it on a machine with an Intel GPU."""
    yield from _beside(case, "Intel", build_for_intel(case, NAME))


def _beside(case: Case, vendor: str, build: Fix) -> Iterator[Finding]:
    alone = [one for one in case.signals_of(NAME) if one.rules == (NAME,)]
    if not alone or case.ask(torch_has_cuda).value == "yes":
        return
    yield Finding(
        rule=NAME,
        severity="warning",
        title=f"torch is a build for the CPU: it cannot use the {vendor} GPU",
        because=[quoted(one) for one in alone[:1]],
        fixes=[build, Fix(action="change-code", why='use the device "cpu" until then')],
        affects=["gpu"],
    )


def _stated(case: Case) -> Iterator[Finding]:
    """Note that torch's version names a CPU build, where nothing tells whether there is a GPU."""
    version = case.machine.torch.value or ""
    if case.signals or not version.endswith(_CPU):
        return
    yield Finding(
        rule=NAME,
        severity="note",
        title=f"torch {version} is a CPU build: it uses no GPU, if there is one",
        because=[Because(f"the build of torch {version} is named cpu", "facts", "inspected")],
        fixes=offers(case, "where there is an NVIDIA GPU: a build with CUDA uses it", verify=NAME),
    )


def _by_default(case: Case) -> Iterator[Finding]:
    """Note where torch is unknown that its default on this system has no CUDA in any release."""
    table, row = case.matrix.table("torch_defaults"), default_without_cuda(case)
    if row is None or case.machine.torch.value is not None or case.signals:
        return
    yield Finding(
        rule=NAME,
        severity="note",
        title=f"which torch is installed is not known, and {row['text']}",
        because=[Because(row["text"], table["sources"][row["source"]], row["strength"])],
        fixes=offers(case, "if it is the default build: one with CUDA", verify=NAME),
    )


RULE = rule(NAME, __doc__, find)
