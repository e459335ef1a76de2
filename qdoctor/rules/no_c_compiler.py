"""No C compiler, which triton needs to compile its launcher.

## What it finds
A machine on which triton has to start kernels and has no C compiler that works.

## Why it hurts
triton compiles a small C file the first time it starts a kernel. Without a compiler every Triton
kernel and `torch.compile` fail with `Failed to find C compiler`.

## How we know
The probe `triton_toolchain` runs the command that triton itself would run. Without it: neither the
variable CC nor gcc or clang on PATH names a compiler, which is where triton looks.

## Fix
Install a C compiler, or name one in CC. What torch.compile writes for the CPU, its C++ wrapper and
extensions need a C++ compiler (Debian's build-essential holds both).

## When to ignore
If nothing here uses triton or `torch.compile`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Finding
from qdoctor.rules.affected import needing
from qdoctor.rules.build_tools import of_this_system
from qdoctor.rules.case import rule, suspect
from qdoctor.rules.of_text import of_texts
from qdoctor.rules.remedies import system_package
from qdoctor.rules.toolchain import of_part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "no-c-compiler"
_OF_TEXTS = of_texts(NAME, __doc__, severity="warning", undecided="what the compiler said first")
_BY_CC = "compiler-named-by-cc"
_OF_CXX = {"compiler-for-a-build", "inductor-cxx-compiler", "no-cxx-compiler"}
"""Texts that miss a C++ compiler: of extensions, and of what torch.compile writes for the CPU."""
_OF_A_MODEL = "chatglm-cpu-kernel"
"""The text of a model's own code, which compiles its kernels for the CPU."""


def find(case: Case) -> Iterator[Finding]:
    """Report a machine without a C compiler where triton needs one."""
    told = list(_OF_TEXTS.find(case))
    yield from told
    if told:
        return
    answer = of_part(case, NAME, "compiler", case.machine.c_compiler, "a C compiler")
    suspicion = suspect(case, NAME, answer)
    if suspicion is None:
        return
    builds = any(one.signature in _OF_CXX for one in case.signals_of(NAME))
    of_model = any(one.signature == _OF_A_MODEL for one in case.signals_of(NAME))
    what = "the model's kernels for the CPU" if of_model else "the launcher of a kernel"
    who = "the code beside the model's weights" if of_model else "triton"
    why = f"{who} compiles {what} with it"
    command = "apt-get install gcc libc6-dev" if case.machine.os.value in {None, "linux"} else None
    usual = [system_package("gcc", command, why, verify=NAME)]
    if command:
        more = (
            "gcc, g++ and make: torch.compile for the CPU and extensions need the C++ compiler too"
        )
        usual.append(_build_essential(more))
    yield Finding(
        rule=NAME,
        severity="warning",
        title="no C++ compiler is found, which extensions and torch.compile's own C++ need"
        if builds
        else f"no C compiler works here: {who} cannot compile {what}",
        because=suspicion.because,
        fixes=_to_build(case)
        if builds or _no_nvidia(case)
        else (not of_model and _of_triton(case)) or usual,
        affects=needing(case, "triton_can_compile"),
        undecided=suspicion.undecided,
    )


def _no_nvidia(case: Case) -> bool:
    """Say whether only GPUs of other makers are known: triton-windows is made for NVIDIA's."""
    return bool(case.machine.gpus.value) and not case.machine.usable_gpus


def _of_triton(case: Case) -> list[Fix]:
    """Offer what this system has; where CC names the compiler that failed, first to remove it."""
    fixes = of_this_system(case, NAME)
    named = any(one.signature == _BY_CC for one in case.signals_of(NAME))
    return sorted(fixes, key=lambda fix: fix.action != "unset-env") if named else fixes


def _to_build(case: Case) -> list[Fix]:
    """Offer what compiles extensions: triton's own small compiler does not."""
    why = "it compiles extensions, and what torch.compile writes in C++"
    here = [one for one in of_this_system(case, NAME) if one.package is None or one.name]
    return here or [_build_essential(why)]


def _build_essential(why: str) -> Fix:
    return system_package("build-essential", "apt-get install build-essential", why, verify=NAME)


RULE = rule(NAME, __doc__, find)
