"""A native library of a package is damaged: cut off, or no library at all.

## What it finds
A loader that refuses a library's bytes (`file too short`, `invalid ELF header`).

## Why it hurts
Importing the package fails, or it silently runs without its native code.

## How we know
The error text names the file. Where the installed file was read and is whole, the text is not about
it.

## Fix
Install the same release of the package anew; where that fails too, the disk is full or the download
was cut off: `python -m pip cache purge` first.

## When to ignore
Never.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING

from qdoctor.model import Finding
from qdoctor.rules.case import accused, rule
from qdoctor.rules.remedies import pip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "native-library-damaged"
_INSIDE = re.compile(r"(?:site|dist)-packages[/\\]([^/\\]+)")


def find(case: Case) -> Iterator[Finding]:
    """Report the library that a text says is damaged, unless it was read and is whole."""
    file = case.said(NAME, "file")
    told = accused(case, NAME, "whether the installed file is whole is not known")
    if told is None or (file and _whole(case, PurePath(file).name)):
        return
    yield Finding(
        rule=NAME,
        severity="error",
        title=f"{PurePath(file).name if file else 'a native library'} is damaged",
        because=told.because,
        fixes=_fixes(case, file or ""),
        undecided=told.undecided,
    )


def _whole(case: Case, name: str) -> bool:
    native = case.machine.facts.native or ()
    return any(one.file == name and one.needs is not None for one in native)


def _fixes(case: Case, file: str) -> list[Fix]:
    inside = _INSIDE.search(file)
    packages = case.machine.facts.packages or {}
    name = inside[1].replace("_", "-").lower() if inside else ""
    if name not in packages or not packages[name]:
        return []
    spec = "" if packages[name] == "?" else f"=={packages[name]}"
    return [pip("reinstall", name, spec, "a whole library comes with it", verify=NAME)]


RULE = rule(NAME, __doc__, find)
