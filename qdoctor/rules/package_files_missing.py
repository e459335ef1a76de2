"""A package is installed by its metadata, but there is nothing to import.

## What it finds
A package that installers show as installed and whose module is not there: an interrupted or partly
deleted install, an editable install whose folder is gone.

## Why it hurts
`import` fails with `No module named …`, while every tool says that the package is installed, and an
installer asked for it changes nothing.

## How we know
The metadata folder is there, and Python's own import system finds no module.

## Fix
Install the same release anew, over what is left of it.

## When to ignore
Never.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Because, Finding
from qdoctor.rules.case import accused, rule
from qdoctor.rules.of_text import of_texts
from qdoctor.rules.remedies import pip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "package-files-missing"
_OF_TEXTS = of_texts(NAME, __doc__, severity="error")
_KEY = "packages_found."


def find(case: Case) -> Iterator[Finding]:
    """Report packages of which only the metadata is there."""
    packages = case.machine.facts.packages or {}
    yield from _OF_TEXTS.find(case)
    told = accused(case, NAME, "")
    for key, reason in (case.machine.facts.unread or {}).items():
        name = key.removeprefix(_KEY)
        if name == key or not packages.get(name):
            continue
        version = packages[name]
        spec = "" if version == "?" else f"=={version}"
        yield Finding(
            rule=NAME,
            severity="error",
            title=f"{name} {version} is installed by its metadata only: it cannot be imported",
            because=[
                Because(f"{name}: {reason}", f"facts: {key}", "inspected"),
                *(told.because if told and case.said(NAME, "module") in _modules(name) else ()),
            ],
            fixes=[pip("reinstall", name, spec, "its files are missing", verify=NAME)],
        )


def _modules(package: str) -> set[str]:
    return {package, package.replace("-", "_")}


RULE = rule(NAME, __doc__, find)
