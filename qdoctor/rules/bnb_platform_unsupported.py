"""bitsandbytes ships no CUDA library for this platform.

## What it finds
A bitsandbytes whose wheel holds no CUDA library for this operating system and machine; and on an
integrated GPU (Jetson) one that holds no code for its very SM: those wheels are for ARM servers.

## Why it hurts
It loads a CPU library, one of another platform, or none: quantized layers fail or run on the CPU.

## How we know
The libraries in each released wheel are listed by platform.

## Fix
Install a release that has one for this platform, build it from source, or use another machine.

## When to ignore
If bitsandbytes is used on the CPU only, in a release that can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor.implied_text import possible, wordings
from qdoctor.layers import bnb_binary_has_sm, bnb_has_cuda_binary
from qdoctor.layers.host import release_fits_python
from qdoctor.layers.natives import libraries_of
from qdoctor.layers.sms import is_integrated
from qdoctor.layers.wheel import platform_has_wheel
from qdoctor.model import Because, Finding
from qdoctor.released import called, fact, parsed, release
from qdoctor.rules.affected import needing
from qdoctor.rules.amd import on_amd
from qdoctor.rules.bnb_releases import BNB, serving
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.installer_refusals import asked_in
from qdoctor.rules.of_layer import of_layers
from qdoctor.rules.remedies import by_hand, pip
from qdoctor.rules.what_if import nearest, runs, with_package
from qdoctor.rules.wheels_here import asked_for, has_other_reason, libc_refuses, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.matrix import Release
    from qdoctor.model import Fix
    from qdoctor.rules.case import Case, Signal

NAME = "bnb-platform-unsupported"
_ARM = ("aarch64", "arm64")
_MAC, _ANY = "macos", "any"
_OF_PLATFORM = "uv-no-wheel-bnb"
"""The row of signatures in which an installer itself says that it is the platform."""
TO_INSTALL = ("no-bnb-to-install", _OF_PLATFORM)
"""The rows of signatures that say that an installer found none."""


def _title(case: Case) -> str:
    bnb, system = case.machine.bitsandbytes.value, case.machine.os.value
    return f"{called('bitsandbytes', bnb)} ships no CUDA library for {system or 'this system'}"


def _fixes(case: Case) -> list[Fix]:
    why = "it ships a library for this platform"
    released = serving(case, [bnb_has_cuda_binary, bnb_binary_has_sm], why, verify=NAME)
    if case.machine.os.value == _MAC:
        other = by_hand("change-hardware", "its CUDA kernels need an NVIDIA GPU")
        return [*released, other, *([] if released else _made_for(case, ""))]
    return [*released, by_hand("rebuild", "built from source it has a library for this platform")]


def find(case: Case) -> Iterator[Finding]:
    """Report a wheel for another platform; with a text also where the release is not known."""
    refused = [one for one in case.signals_of(NAME) if one.signature in TO_INSTALL]
    if refused:
        yield from _not_to_be_had(case, refused)
        return
    found = list(_nothing_for_macs(case) or _OF_LAYERS.find(case))
    sure = [one for one in found if one.undecided is None]
    yield from (
        sure
        or _on_rocm(case)
        or _on_a_mac(case)
        or _on_a_board(case)
        or _never_shipped(case)
        or found
    )


def _not_to_be_had(case: Case, texts: list[Signal]) -> Iterator[Finding]:
    """Report what an installer does not find; nothing where it is known to be for this machine."""
    wanted = max((asked_in(case, one)[1] for one in texts), key=len)
    why, machine = refusal(case, BNB, wanted), case.machine
    if libc_refuses(case, BNB, wanted):
        return
    told = any(one.signature == _OF_PLATFORM for one in texts)
    if (why is None or not why.platform) and not told and has_other_reason(case, BNB, wanted):
        return
    where = " ".join(filter(None, [machine.os.value, machine.arch.value])) or "this system"
    yield Finding(
        rule=NAME,
        severity="warning",
        title=f"there is no bitsandbytes {wanted} for {where}".replace("  ", " "),
        because=[*map(quoted, texts), *(why.answer.because if why else ())],
        fixes=[*_made_for(case, wanted), *_fixes(case)],
        undecided=None if why else machine.os.reason or "the processor is not known",
    )


def _made_for(case: Case, wanted: str) -> list[Fix]:
    """Offer the releases that have a wheel for this very system, other than all that are asked.

    None of them holds code for the GPU of a board (Jetson).
    """
    if (sm := case.machine.sm.value) is not None and is_integrated(sm, case.matrix):
        return []
    known = case.matrix.versions(BNB)
    own = [case.machine.os.value is not None and _is_made_for(case, str(one)) for one in known]
    asked = asked_for(case, BNB, wanted)
    way = nearest(runs(known, own), str(asked[0]) if asked else None)
    if way is None or way[0] == "reinstall":
        return []
    return [pip(way[0], BNB, way[1].spec, "it has a wheel of its own for this system", verify=NAME)]


def _is_made_for(case: Case, version: str) -> bool:
    tags = fact(case.matrix, BNB, version, "platforms").value or ()
    here = platform_has_wheel(case.machine, case.matrix, BNB, version)
    return _ANY not in tags and here.value != "no"


def _on_rocm(case: Case) -> list[Finding]:
    """Decide on an AMD machine: the release has no library for ROCm.

    Where it is not stated: none of those has one that word their texts so.
    """
    version = parsed(case.machine.bitsandbytes.value)
    if not (case.signals_of(NAME) or version) or not on_amd(case):
        return []
    known = possible(BNB, wordings(case.signals_of(NAME)), case.matrix)
    told = [version.base_version] if version else known
    if not told or any(_may_hold_rocm(case, one) for one in told):
        return []
    which = told[0] if len(told) == 1 else f"{told[0]} to {told[-1]}"
    found = _told(case, f"bitsandbytes {which} has no library for ROCm", "ROCm")
    fixes = [*_with_rocm(case), *found.fixes]
    return [msgspec.structs.replace(found, severity="warning", fixes=fixes)]


def _with_rocm(case: Case) -> list[Fix]:
    """Offer the releases that ship libraries for ROCm."""
    known = case.matrix.versions(BNB)
    good = [bool(_of_rocm(case, str(one))) for one in known]
    way = nearest(runs(known, good), case.machine.bitsandbytes.value)
    why = "it ships libraries for ROCm"
    return [pip(way[0], BNB, way[1].spec, why, verify=NAME)] if way else []


def _of_rocm(case: Case, version: str) -> list[str]:
    found = release(case.matrix, BNB, version)
    files: list[str] = [one["file"] for one in found.facts.get("native", ())] if found else []
    return [one for one in files if "rocm" in one or "hip" in one]


def _may_hold_rocm(case: Case, version: str) -> bool:
    """Say whether a release has a library for ROCm, or it is not known which ones it has."""
    found = release(case.matrix, BNB, version)
    listed = found is not None and found.facts.get("native")
    return not listed or bool(_of_rocm(case, version))


def _on_a_mac(case: Case) -> list[Finding]:
    """Decide a text on a system that has no CUDA: no release has a library with CUDA for it."""
    system = case.machine.os.value or ""
    row = case.matrix.table("systems")["rows"].get(system)
    if row is None or not case.signals_of(NAME):
        return []
    return [_told(case, f"no release has a library with CUDA for {system}: {row['why']}", system)]


def _nothing_for_macs(case: Case) -> list[Finding]:
    """Report a release without any library for macOS, which an installer takes there all the same.

    Its wheel is tagged for every platform; what it holds is for Linux.
    """
    version, system = case.machine.bitsandbytes.value, case.machine.os.value
    found = release(case.matrix, BNB, version) if version and system == _MAC else None
    if found is None or libraries_of(case.machine, BNB) or _loads_on_macs(found):
        return []
    text = f"of the libraries of bitsandbytes {version} none is for macOS"
    read = Because(text, "the libraries in the released wheels", "mined")
    texts = case.signals_of(NAME)
    return [
        Finding(
            rule=NAME,
            severity="warning",
            title=f"bitsandbytes {version} has no library for macOS",
            because=[read, *map(quoted, texts)],
            # What failed asked for CUDA's kernels, which the newer library has not.
            fixes=_fixes(case) if texts else [*_with_mac_library(case), *_fixes(case)],
            affects=needing(case, "bnb_has_cuda_binary"),
        )
    ]


def _loads_on_macs(found: Release) -> bool:
    return any(one["platform"].startswith(_MAC) for one in found.facts.get("native", ()))


def _with_mac_library(case: Case) -> list[Fix]:
    """Offer the releases with a library for macOS, where this processor and Python have a wheel."""
    known = case.matrix.versions(BNB)
    good = [
        (one := release(case.matrix, BNB, str(version))) is not None
        and _loads_on_macs(one)
        and platform_has_wheel(case.machine, case.matrix, BNB, str(version)).value != "no"
        and release_fits_python(case.machine, case.matrix, BNB, str(version)).value != "no"
        for version in known
    ]
    way = nearest(runs(known, good), case.machine.bitsandbytes.value)
    if way is None:
        return []
    why = "it has a library for macOS (Apple silicon), which runs on the CPU"
    return [pip(way[0], BNB, way[1].spec, why, verify=NAME)]


def _on_a_board(case: Case) -> list[Finding]:
    """Decide a text on an integrated GPU: no wheel is for it, whatever it calls itself."""
    sm, texts = case.machine.sm.value, case.signals_of(NAME)
    version = case.machine.bitsandbytes.value
    somewhere = version is None and case.machine.installed(BNB) == "yes"
    if not (texts or somewhere) or sm is None or not is_integrated(sm, case.matrix):
        return []
    text = f"only boards (Jetson) have SM {sm}: the wheels for ARM are made for servers"
    return [_told(case, text, f"SM {sm}")]


def _never_shipped(case: Case) -> list[Finding]:
    """Decide a text of an ARM machine whose CUDA version no release has a library for."""
    arch, cuda = (case.machine.arch.value or "").lower(), case.machine.torch_cuda.value
    if not case.signals_of(NAME) or arch not in _ARM or not cuda:
        return []
    for version in case.matrix.versions(BNB):
        machine = with_package(case.machine, case.matrix, BNB, str(version))
        if bnb_has_cuda_binary(machine, case.matrix).value != "no":
            return []
    return [_told(case, f"no release has a library for CUDA {cuda} on {arch}", arch)]


def _told(case: Case, text: str, where: str) -> Finding:
    read = Because(text, "the libraries in the released wheels", "mined")
    return Finding(
        rule=NAME,
        severity="warning" if case.signals_of(NAME) else "note",
        title=f"{called(BNB, case.machine.bitsandbytes.value)} has no library for {where}",
        because=[read, *map(quoted, case.signals_of(NAME))],
        fixes=_fixes(case),
    )


_OF_LAYERS = of_layers(
    NAME,
    __doc__,
    (bnb_has_cuda_binary, bnb_binary_has_sm),
    severity="note",
    title=_title,
    fixes=_fixes,
)

RULE = rule(NAME, __doc__, find)
