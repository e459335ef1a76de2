"""A native library of a package is damaged (cut off, no library at all) or for another processor.

## What it finds
A loader that refuses a library's bytes: `file too short`, `invalid ELF header`, and where they are
for another processor: macOS' `incompatible architecture`, Linux' `wrong ELF class`.

## Why it hurts
Importing the package fails, or it silently runs without its native code.

## How we know
The error text names the file. Where the installed file was read and is whole, the text is not about
it.

## Fix
Install the same release of the package anew; where that fails too, the disk is full or the download
was cut off: `python -m pip cache purge` first. A file of the system's CUDA toolkit comes with that;
where the folder is only found through LD_LIBRARY_PATH, taking it out of there is enough. An Intel
Python on an Apple chip gets packages for Intel: there another interpreter helps.

## When to ignore
Never.
"""

from __future__ import annotations

import re
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING

from qdoctor.model import Finding, Fix
from qdoctor.rules.case import accused, rule
from qdoctor.rules.remedies import by_hand, pip, unset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "native-library-damaged"
_FOREIGN = "library-for-another-processor"
_INSIDE = re.compile(r"(?:site|dist)-packages[/\\]([^/\\]+)")
_STEM = re.compile(r"lib[\w-]+?(?=\.so)")
_CUDA = "cuda_libraries"
_VERSION = re.compile(r"[/\\]cuda-(\d+(?:\.\d+)*)[/\\]")
"""The folder of a CUDA toolkit, as its installers name it."""
_PATH = "LD_LIBRARY_PATH"


def find(case: Case) -> Iterator[Finding]:
    """Report the library that a text says is damaged, unless it was read and is whole."""
    file = case.said(NAME, "file")
    told = accused(case, NAME, "whether the installed file is whole is not known")
    foreign = any(one.signature == _FOREIGN for one in case.signals_of(NAME))
    if told is None or (file and not foreign and _whole(case, _name(file))):
        return
    fixes = _reinstalled(case, file or "", guess=foreign)
    wrong = "for another processor than the interpreter" if foreign else "damaged"
    yield Finding(
        rule=NAME,
        severity="error",
        title=f"{_name(file) if file else 'a native library'} is {wrong}",
        because=told.because,
        fixes=_of_own_processor(case, fixes) if foreign else fixes,
        undecided=told.undecided,
    )


def _name(file: str) -> str:
    """Return a file's name, whichever way the slashes of its path lean."""
    return PureWindowsPath(file).name


def _whole(case: Case, name: str) -> bool:
    native = case.machine.facts.native or ()
    return any(one.file == name and one.needs is not None for one in native)


def _reinstalled(case: Case, file: str, *, guess: bool) -> list[Fix]:
    """Offer the file's package anew; ``guess``: also one of which no release is stated."""
    inside = _INSIDE.search(file)
    if not inside:
        return [] if guess else _of_toolkit(case, file)
    packages = case.machine.facts.packages or {}
    name = inside[1].replace("_", "-").lower()
    known = packages.get(name)
    if not (known or guess):
        return []
    spec = f"=={known}" if known and known != "?" else ""
    return [pip("reinstall", name, spec, "the right library comes with it", verify=NAME)]


def _of_toolkit(case: Case, file: str) -> list[Fix]:
    """Offer the system's CUDA toolkit anew, or to look past its folder; [] for other files."""
    name = _name(file)
    stem = _STEM.match(name)
    if not stem or stem[0] not in case.matrix.table(_CUDA)["rows"]:
        return []
    folder = _VERSION.search(file)
    version = folder[1] if folder else case.machine.facts.toolkit_cuda
    toolkit = f"cuda-toolkit {version or ''}".strip()
    why = f"{name} is a file of the CUDA toolkit: installing that again brings it"
    anew = Fix(action="install-system", name=toolkit, why=why, verify=NAME)
    past = f"where it names {file[: -len(name) - 1]}, another copy is found without that folder"
    return [anew, unset(_PATH, past, verify=NAME)]


def _of_own_processor(case: Case, reinstalled: list[Fix]) -> list[Fix]:
    """Put another interpreter first where this one is not for the machine's own processor."""
    why = "an interpreter made for this machine's own processor gets packages made for it"
    other = by_hand("use-python", why, verify=NAME)
    emulated = case.said(NAME, "need") == "x86_64" and case.said(NAME, "have") == "arm64"
    return [other, *reinstalled] if emulated else [*reinstalled, other]


RULE = rule(NAME, __doc__, find)
