"""bitsandbytes ships no native library for the CUDA version of this torch.

## What it finds
A bitsandbytes without a library for the CUDA version that torch was built with, on this platform,
nor one that it would fall back to.

## Why it hurts
bitsandbytes loads its CPU library instead or refuses to import: no quantized layer runs on the GPU.

## How we know
The libraries in each released wheel, or in the installed package, are listed by their file names;
which of them is chosen is read from the loader of that release.

## Fix
Install a bitsandbytes that has one, or the torch build for a CUDA version that this bitsandbytes
has a library for. BNB_CUDA_VERSION can point to another library of the same CUDA major.

## When to ignore
If bitsandbytes is not used on the GPU.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

import msgspec

from qdoctor.implied_text import possible, wordings
from qdoctor.layers import Answer, bnb_has_cuda_binary, bnb_ships_here, gpu_present
from qdoctor.layers.natives import libraries_of
from qdoctor.model import Because, Finding
from qdoctor.released import called, cited, fits, release
from qdoctor.rules.affected import needing
from qdoctor.rules.bnb_releases import BNB, serving, settled
from qdoctor.rules.case import quoted, rule, suspect
from qdoctor.rules.remedies import by_hand, pip
from qdoctor.rules.torch_builds import offers, on_some_system, tags_of, with_a_torch
from qdoctor.rules.what_if import nearest, runs, with_os, with_package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.machine import Machine
    from qdoctor.model import Fix, Severity
    from qdoctor.rules.case import Case, Signal
    from qdoctor.rules.what_if import Condition

NAME = "bnb-cuda-binary-missing"
_LOADED = ("loaded", "loaded2")
"""What a greeting calls the CUDA version of the library that it sets out to load."""


def find(case: Case) -> Iterator[Finding]:
    """Report a bitsandbytes without a library for torch's CUDA version."""
    rocm = case.said(NAME, "rocm")
    if rocm is not None:
        yield from _of_rocm(case, rocm)
        return
    greetings = [one for one in case.signals if _greeted(one)]
    found = _of_greeting(case, greetings)
    yield from found
    others = tuple(one for one in case.signals if one not in greetings)
    telling = [one for one in others if NAME in one.rules or not _loads(case, greetings)]
    if not found and not (greetings and not telling):
        yield from _of_others(msgspec.structs.replace(case, signals=others))


def _greeted(signal: Signal) -> str | None:
    return next((signal.said[one] for one in _LOADED if one in signal.said), None)


def _loads(case: Case, greetings: list[Signal]) -> bool:
    """Say whether the last greeting names a library that is there, whatever torch was built for."""
    version = case.machine.bitsandbytes.value
    return bool(
        greetings
        and version
        and _is_there(case, version, f"libbitsandbytes_cuda{_greeted(greetings[-1])}.")
    )


def _of_others(case: Case) -> Iterator[Finding]:
    told = [one for one in case.signals_of(NAME) if one.said.get("cuda") and BNB in one.printed_by]
    if told and case.machine.bitsandbytes.value is None:
        found = list(_of_wording(case, told[0]))
        yield from found
        if found:
            return
    suspicion = suspect(case, NAME, _has(case))
    if suspicion is None:
        return
    bnb, cuda = case.machine.bitsandbytes.value, case.machine.torch_cuda.value
    severity: Severity = "note" if case.ask(gpu_present).value == "no" else "error"
    yield Finding(
        rule=NAME,
        severity=severity,
        title=f"{called('bitsandbytes', bnb)} has no library for {_cuda_of(cuda)}",
        because=suspicion.because,
        fixes=_fixes(case),
        affects=needing(case, "bnb_has_cuda_binary"),
        undecided=suspicion.undecided,
    )


def _of_greeting(case: Case, greetings: list[Signal]) -> list[Finding]:
    """Report a greeting that names a library which the stated release does not have."""
    version, cuda = case.machine.bitsandbytes.value, _greeted(greetings[-1]) if greetings else None
    file = f"libbitsandbytes_cuda{cuda}."
    known = [str(one) for one in case.matrix.versions(BNB)]
    if cuda is None or version is None or version not in known or _is_there(case, version, file):
        return []
    having = [one for one in known if _ships(case, one, file)]
    if not having:
        return []
    text = f"bitsandbytes {version} does not have {file}so; {_from_to(having)} do"
    return [
        Finding(
            rule=NAME,
            severity="error",
            title=f"bitsandbytes {version} has no {file}so, which it sets out to load",
            because=[
                Because(text, "the libraries in the released wheels", "mined"),
                *map(quoted, greetings[-1:]),
            ],
            fixes=_with(_moved_to(case, having, [version]), _fixes(case)),
            affects=needing(case, "bnb_has_cuda_binary"),
        )
    ]


def _is_there(case: Case, version: str, file: str) -> bool:
    """Say whether a library is in the installed copy, as far as that was read, or the release."""
    read = [PurePath(one.file or "").name for one in libraries_of(case.machine, BNB)]
    return any(one.startswith(file) for one in read) or _ships(case, version, file)


def _of_wording(case: Case, signal: Signal) -> Iterator[Finding]:
    """Report a text that names a library, where only its wording tells the release.

    Of the releases that word it so, some lack the library: it was one of them.
    """
    file = f"libbitsandbytes_cuda{signal.said['cuda']}."
    known = [str(one) for one in case.matrix.versions(BNB)]
    having = [one for one in known if _ships(case, one, file)]
    printing = possible(BNB, wordings(case.signals_of(NAME)), case.matrix)
    lacking = [one for one in printing if one not in having]
    ways = _moved_to(case, having, lacking)
    older = bool(having) and having[0] == known[0]
    if not having or not (ways or (older and not lacking)):
        return
    text = (
        f"of the releases that print this, {lacking[0]} to {lacking[-1]} lack {file}so"
        if lacking
        else f"every release from {known[0]} on that prints this has {file}so: it is an older one"
    )
    yield Finding(
        rule=NAME,
        severity="error",
        title=f"this bitsandbytes has no {file}so: it is in releases {_from_to(having)}",
        because=[quoted(signal), Because(text, "the libraries in the released wheels", "mined")],
        fixes=_with(ways if lacking else _newer_with(case, having), _fixes(case)),
        affects=needing(case, "bnb_has_cuda_binary"),
    )


def _with(ways: list[Fix], others: list[Fix]) -> list[Fix]:
    """Add other fixes to those that move bitsandbytes, but none to the same releases once more.

    A newer release that takes another library for this CUDA version is better than an older one.
    """
    specs = {one.spec for one in ways}
    left = [one for one in others if one.package != BNB or one.spec not in specs]
    down = bool(ways) and ways[0].action == "downgrade"
    newer = [one for one in left if down and one.package == BNB and one.action == "upgrade"]
    return [*newer, *ways, *(one for one in left if one not in newer)]


def _from_to(having: list[str]) -> str:
    return f"{having[0]} to {having[-1]}"


def _moved_to(case: Case, having: list[str], lacking: list[str]) -> list[Fix]:
    """Offer the way from releases without a library to those with it; [] where it may be either.

    Upwards, where none that lacks it is newer; downwards, where one is newer than all that have it.
    """
    known = [str(one) for one in case.matrix.versions(BNB)]
    if not (having and lacking):
        return []
    newer = [one for one in having if known.index(one) > known.index(lacking[-1])]
    if newer:
        return _newer_with(case, newer)
    before = [one for one in lacking if known.index(one) < known.index(having[-1])]
    if len(before) > 1 or known.index(lacking[0]) < known.index(having[0]):
        return []  # of one alone (0.36.0 left out everything) few were installed
    good = [one in having and not _has_no_wheel(case, one) for one in known]
    way = nearest(runs(case.matrix.versions(BNB), good), lacking[-1])
    why = "it has this library, which later releases left out"
    return [pip(way[0], BNB, way[1].spec, why, verify=NAME)] if way else []


def _newer_with(case: Case, having: list[str]) -> list[Fix]:
    """Offer the releases with a library; the newest ones only, where older ones miss the system."""
    why = "it has this library"
    found = having
    if _has_no_wheel(case, having[0]):
        found = [one for one in having if not _has_no_wheel(case, one)]
    known = case.matrix.versions(BNB)
    spans = runs(known, [str(one) in found for one in known])
    return [pip("upgrade", BNB, spans[0].spec, why, verify=NAME)] if spans else []


def _has_no_wheel(case: Case, version: str) -> bool:
    machine = with_package(case.machine, case.matrix, BNB, version)
    return bnb_ships_here(machine, case.matrix).value == "no"


def _of_rocm(case: Case, rocm: str) -> Iterator[Finding]:
    """Report a text that names a library for ROCm, unless the release has that very one."""
    version, file = case.machine.bitsandbytes.value, f"libbitsandbytes_rocm{rocm}."
    known = [str(one) for one in case.matrix.versions(BNB)]
    having = [one for one in known if _ships(case, one, file)]
    if version in having:
        return
    why = "it is the first release with that library" if having else "it has more of them for ROCm"
    wanted = having[0] if having else known[-1]
    text = f"{len(having) or 'no'} of the known releases hold {file}so"
    yield Finding(
        rule=NAME,
        severity="error",
        title=f"{called('bitsandbytes', version)} has no library for this ROCm ({file}so)",
        because=[
            *map(quoted, case.signals_of(NAME)[:1]),
            Because(text, "the libraries in the released wheels", "mined"),
        ],
        fixes=[
            pip("upgrade", BNB, f">={_minor(wanted)}", why, verify=NAME),
            by_hand("rebuild", "built from source for this ROCm it has the library", verify=NAME),
        ],
        affects=needing(case, "bnb_has_cuda_binary"),
    )


def _ships(case: Case, version: str, file: str) -> bool:
    found = release(case.matrix, BNB, version)
    return found is not None and any(
        one["file"].startswith(file) for one in found.facts.get("native", ())
    )


def _minor(version: str) -> str:
    """Return the first release of the same minor: ``0.50.0`` for ``0.50.2``."""
    return ".".join([*version.split(".")[:2], "0"])


def _has(case: Case) -> Answer:
    """Ask the layer; where it cannot say, what is known to be missing from a wheel (table)."""
    answer, table = case.ask(bnb_has_cuda_binary), case.matrix.table("known_bad")
    version, cuda = case.machine.bitsandbytes.value, case.machine.torch_cuda.value
    if answer.value != "unknown" or not version:
        return answer
    if not cuda:
        return _of_every_build(case) or answer
    for row in table["rows"]:
        if cuda in row.get("cuda", ()) and fits(case.matrix, BNB, version, row["spec"]):
            text = f"bitsandbytes {version}: {row['text']}"
            return Answer("no", text, (cited(table, row, text),), NAME)
    return answer


def _of_every_build(case: Case) -> Answer | None:
    """Ask for every build with CUDA of the stated torch: where none lacks a library, this has one.

    Where the system is not stated, it is asked of each that has such builds.
    """
    torch = (case.machine.torch.value or "").partition("+")[0]
    if not torch or case.machine.facts.torch_cuda is not None or not case.signals_of(NAME):
        return None
    systems = [case.machine.os.value] if case.machine.os.value else ["linux", "windows"]
    told = [with_os(case.machine, case.matrix, one) for one in systems]
    machines = [
        with_package(one, case.matrix, "torch", f"{torch}+{tag}")
        for one in told
        for tag in tags_of(msgspec.structs.replace(case, machine=one, answers={}), torch)
    ]
    asked = [bnb_has_cuda_binary(one, case.matrix) for one in machines]
    return asked[-1] if asked and all(one.value == "yes" for one in asked) else None


def _fixes(case: Case) -> list[Fix]:
    why = "it has a library for this CUDA version"
    if case.machine.torch_cuda.value is None:
        releases = serving(with_a_torch(case), [bnb_has_cuda_binary], why, verify=NAME)
    elif case.machine.os.value is None:
        releases = serving(case, [], why, verify=NAME, also=_everywhere(case))
    else:
        releases = serving(case, [bnb_has_cuda_binary], why, verify=NAME)
    why = "this bitsandbytes has a library for its CUDA version"
    told = settled(on_some_system(case))
    return releases + offers(told, why, verify=NAME, also=[bnb_has_cuda_binary])


def _everywhere(case: Case) -> Condition:
    """Make the condition that the library is there whatever the system is, which is not known."""

    def fits(machine: Machine) -> bool:
        told = [with_os(machine, case.matrix, system) for system in ("linux", "windows")]
        return all(bnb_has_cuda_binary(one, case.matrix).value == "yes" for one in told)

    return fits


def _cuda_of(cuda: str | None) -> str:
    return f"CUDA {cuda}" if cuda else "torch's CUDA"


RULE = rule(NAME, __doc__, find, symptom_of=("torch-cpu-only", "bnb-override-wrong"))
