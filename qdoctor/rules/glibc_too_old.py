"""The system's C library is older than a package needs.

## What it finds
A glibc below the oldest that an installed package was built for, or a libstdc++ (GLIBCXX); and
one below the wheels of every release that an installer was asked for and did not find.

## Why it hurts
Its libraries do not load: ``version `GLIBC_2.34' not found``.

## How we know
The versions that a library needs are read from its ELF headers, those of every installed package
that links CUDA included, and the floor of a wheel from its platform tag; the system says which
glibc it has, and the libstdc++ that the interpreter would load which versions it defines.

## Fix
Install a release that was built for an older glibc, where there is one; else a newer operating
system, or a container of one; or build the package on this system. A newer libstdc++ comes from
conda-forge as well.

## When to ignore
Never, if the package is used.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from qdoctor.layers import Answer, libc_new_enough
from qdoctor.layers.natives import package_fits_symbols
from qdoctor.model import Finding
from qdoctor.released import parsed
from qdoctor.rules.affected import needing
from qdoctor.rules.bnb_releases import BNB, serving
from qdoctor.rules.case import rule, suspect
from qdoctor.rules.libc_refusals import TEXTS, kept_away
from qdoctor.rules.remedies import by_hand, system_package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix
    from qdoctor.rules.case import Case, Suspicion

NAME = "glibc-too-old"
_CXX = "libstdcxx-ng"
_MUSL = "musl"
_GLIBC = re.compile(r"glibc (?P<version>[\d.]+)")
_LOADER = "musl-loader"
"""The texts that only musl's loader prints."""
_NEWER = "a newer system, or a container of it, has a newer libc"
_BUILT_HERE = "built on this system the package needs no newer library than it has"


def find(case: Case) -> Iterator[Finding]:
    """Report a C or C++ library below the floor of a package, installed or to be."""
    yield from kept_away(case, NAME)
    others = tuple(one for one in case.signals if one.signature not in TEXTS)
    yield from _installed(msgspec.structs.replace(case, signals=others))


def _installed(case: Case) -> Iterator[Finding]:
    suspicion = suspect(case, NAME, _new_enough(case))
    if suspicion is None or suspicion.undecided is not None:
        inspected = list(_by_libraries(case))
        yield from inspected
        if inspected or suspicion is None:
            return
    told = any(one.signature == _LOADER for one in case.signals_of(NAME))
    if told or (case.machine.libc.value or "").startswith(_MUSL):
        yield _on_musl(case, suspicion)
        return
    libc = case.machine.libc.value or "this system's C library"
    needed = case.said(NAME, "symbol")
    wanted = f"for what needs {needed}" if needed else "for an installed package"
    yield Finding(
        rule=NAME,
        severity="error",
        title=f"{libc} is too old {wanted}",
        because=suspicion.because,
        fixes=_fixes(case),
        affects=needing(case, "libc_new_enough"),
        undecided=suspicion.undecided,
    )


def _on_musl(case: Case, suspicion: Suspicion) -> Finding:
    """Report what musl's own loader says: no wheel that was built for glibc loads there."""
    why = "one with glibc (Debian, Ubuntu, python:3.12-slim): most wheels are built for it"
    return Finding(
        rule=NAME,
        severity="error",
        title="this system's C library is musl (Alpine), and the package was built for glibc",
        because=suspicion.because,
        fixes=[by_hand("upgrade-os", f"use another image or system: {why}", verify=NAME)],
        affects=needing(case, "libc_new_enough"),
    )


def _new_enough(case: Case) -> Answer:
    """Ask the layer; that an installer accepted a wheel refutes no error text."""
    answer, libc = case.ask(libc_new_enough), case.machine.libc
    if answer.value == "yes" and libc.value is None:
        return Answer("unknown", libc.reason)
    if answer.value == "yes" and _asks_for_more(case):
        return Answer("unknown", "which package brought the library that asks for it")
    return answer


def _asks_for_more(case: Case) -> bool:
    """Say whether a text asks for more than the stated C library has, or for a C++ library.

    What installed packages need is known of the released wheels: the library that the text is about
    may be another package's, or of another build.
    """
    needed, stated = (
        case.said(NAME, "symbol") or "",
        _GLIBC.fullmatch(case.machine.libc.value or ""),
    )
    wanted = parsed(case.said(NAME, "version")) if needed.startswith("GLIBC_") else None
    if wanted is None or stated is None:
        return bool(needed)
    has = parsed(stated["version"])
    return has is not None and has < wanted


def _by_libraries(case: Case) -> Iterator[Finding]:
    """Report other packages by what was read from their installed libraries."""
    named = {one.package: None for one in case.machine.facts.native or () if one.package}
    for package in named:
        answer = package_fits_symbols(case.machine, package or "")
        suspicion = suspect(case, NAME, answer) if answer.value == "no" else None
        if suspicion is None or package == BNB:  # of bitsandbytes only what it loads counts
            continue
        yield Finding(
            rule=NAME,
            severity="error" if package == "torch" else "warning",
            title=f"this system's C or C++ library is too old for {package}",
            because=suspicion.because,
            fixes=[by_hand("upgrade-os", _NEWER), by_hand("rebuild", _BUILT_HERE)],
            affects=needing(case, "libc_new_enough") if package == "torch" else [],
        )


def _fixes(case: Case) -> list[Fix]:
    older = []
    if case.ask(libc_new_enough).value == "no":
        why = "it was built for an older C library"
        older = serving(case, [libc_new_enough], why, verify=NAME)
    newer = [*older, *_of_cxx(case), by_hand("upgrade-os", _NEWER)]
    if older or not (case.said(NAME, "symbol") or "").startswith("GLIBC_"):
        return newer
    return [*newer, by_hand("rebuild", _BUILT_HERE)]


def _of_cxx(case: Case) -> list[Fix]:
    """Offer a newer C++ library, which, unlike a C library, comes without a newer system."""
    if not (case.said(NAME, "symbol") or "").startswith(("GLIBCXX", "CXXABI")):
        return []
    why = (
        "conda-forge's C++ library is newer and needs no newer system; outside of a conda "
        "environment LD_LIBRARY_PATH must name its folder"
    )
    return [system_package(_CXX, f"conda install -c conda-forge {_CXX}", why, verify=NAME)]


RULE = rule(NAME, __doc__, find)
