"""Another copy of a package is imported than the one that the installer knows.

## What it finds
Two copies of a package on the import path, of different versions or one without metadata: the first
one is imported, the other is what an installer shows and upgrades. Or a file on PYTHONPATH named
like a module of Python's own library (`random.py`, `queue.py`). Or a text that the installed
release does not print, or that misses what every triton has: a folder named triton hides it. Or
Python's own word that an imported module has no file, or imports itself.

## Why it hurts
Upgrading changes nothing, since the stale copy is imported all the same, and errors speak of
another release than `pip show` does.

## How we know
Each copy is found as Python's own import system finds it, without importing it. Where only a text
is known, its wording dates the release that printed it.

## Fix
Take the stale copy out of the way: remove its folder from PYTHONPATH, or uninstall it; rename a
file of your own.

## When to ignore
If the first copy is meant to be used, such as one's own build.
"""

from __future__ import annotations

import sys
from pathlib import PurePath
from typing import TYPE_CHECKING

from msgspec import structs
from packaging.utils import canonicalize_name

from qdoctor.implied_text import wordings
from qdoctor.model import Because, Finding, Fix
from qdoctor.released import fits, has, parsed
from qdoctor.rules.bnb_releases import BNB
from qdoctor.rules.case import accused, quoted, rule
from qdoctor.rules.of_names import hidden
from qdoctor.rules.of_text import answer_to, answered
from qdoctor.rules.remedies import pip, unset
from qdoctor.rules.torch_index import moved_torch
from qdoctor.rules.triton_name_in_text import before_all, name_in
from qdoctor.rules.triton_releases import distribution, history

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import FoundPackage
    from qdoctor.rules.case import Case

NAME = "stale-package-shadowing"
_PATH = "PYTHONPATH"
_HIDDEN = ("hidden", *(f"hidden{number}" for number in range(2, 8)))
_IMPORTING = "CPython 3.11 Python/ceval.c, import_from"


def find(case: Case) -> Iterator[Finding]:
    """Report each package of which a copy hides another one, or that another release speaks for."""
    told = accused(case, NAME, "where the package is imported from is not known")
    texts = told.because if told else []
    names = list(dict.fromkeys(one.name for one in case.machine.facts.packages_found or ()))
    pairs = [pair for name in names if (pair := shadowing(case, name))]
    for first, second in pairs:
        yield Finding(
            rule=NAME,
            severity="warning",
            title=f"{_called(first)} hides {_called(second)}",
            because=[_place(first, "is imported"), _place(second, "is hidden"), *texts],
            fixes=_fixes(case, first, second),
        )
    if not pairs:
        yield from _misdated(case)
        yield from _having(case)
        yield from list(_hidden(case)) or [*_hidden_triton(case), *_hidden_bnb(case)]
        yield from _mixed_files(case)


def _misdated(case: Case) -> Iterator[Finding]:
    """Report a text that the installed release does not print: then another one was imported."""
    for wording in wordings(case.signals_of(NAME)):
        version = (case.machine.facts.packages or {}).get(wording.package)
        if not version or fits(case.matrix, wording.package, version, wording.spec) is not False:
            continue
        why = f"{wording.package} {version} does not print this, so another copy was imported"
        yield Finding(
            rule=NAME,
            severity="warning",
            title=f"the error text is not of {wording.package} {version}",
            because=[
                wording.because,
                Because(why, f"facts: packages.{wording.package}", "inspected"),
            ],
            fixes=[pip("reinstall", wording.package, f"=={version}", why, verify=NAME)],
        )


def _having(case: Case) -> Iterator[Finding]:
    """Report a text that misses what the installed release has: another copy was imported."""
    for signal in case.signals_of(NAME):
        found = hidden(case, signal)
        if found is None:
            continue
        package, because = found
        version = case.machine.package(package).value
        why = f"{package} {version} has it: the process began before, or imports another copy"
        yield Finding(
            rule=NAME,
            severity="warning",
            title=f"the error text is not of {package} {version}",
            because=[quoted(signal), because],
            fixes=[
                Fix(action="restart-kernel", why=why),
                pip("reinstall", package, f"=={version}", why, verify=NAME),
            ],
        )


def _hidden(case: Case) -> Iterator[Finding]:
    """Report Python's own word that what it imported has no file, or imports itself."""
    for signal in case.signals_of(NAME):
        module = next((signal.said[one] for one in _HIDDEN if one in signal.said), None)
        if module is None:
            continue
        package = canonicalize_name(module.split(".")[0])
        why = f"a folder or file of that name beside the script hides {package}: rename it"
        told = "it was found in a folder without the package's files, or in a file of one's own"
        yield Finding(
            rule=NAME,
            severity="warning",
            title=f"what is imported as {module} is not {module}",
            because=[quoted(signal), Because(told, _IMPORTING, "inspected")],
            fixes=[
                Fix(action="change-code", why=why, verify=NAME),
                *([] if _is_pythons(module) else [_again(case, package)]),
            ],
        )


def _again(case: Case, package: str) -> Fix:
    why = "an uninstall can leave the folder without its files"
    version = parsed(case.machine.package(package).value)
    spec = f"=={version.public}" if version and not version.is_devrelease else ""
    if package == "torch":
        moved = moved_torch(case, "reinstall", spec, why, verify=NAME)
        anew = "pip install --force-reinstall --no-deps"
        command = moved.command and moved.command.replace("pip install", anew)
        return structs.replace(moved, command=command)
    return pip("reinstall", package, spec, why, verify=NAME)


def _hidden_triton(case: Case) -> Iterator[Finding]:
    """Report a text that misses what every triton has: what was imported is not triton."""
    for signal in case.signals_of(NAME):
        known = history(case, name) if (name := name_in(signal)) else None
        if known is None or len(known.having) < len(known.known):
            continue
        if before_all(case, signal, known.name):
            continue
        why = "a folder or file named triton beside the script hides the package: rename it"
        triton = distribution(case.machine)
        yield Finding(
            rule=NAME,
            severity="warning",
            title="what is imported as triton is not triton",
            because=[quoted(signal), known.because],
            fixes=[
                pip("reinstall", triton, "", "its files may be gone", verify=NAME),
                Fix(action="change-code", why=why, verify=NAME),
            ],
        )


def _hidden_bnb(case: Case) -> Iterator[Finding]:
    """Report a text that misses what every bitsandbytes has: what was imported is another one."""
    known = case.matrix.versions(BNB)
    for signal in case.signals_of(NAME):
        name = name_in(signal) or ""
        if not name.startswith(f"{BNB}.") or case.machine.bitsandbytes.value:
            continue
        if any(has(case.matrix, BNB, str(one), name) != "yes" for one in known):
            continue
        why = "an old bitsandbytes-cudaXXX, or a folder of that name beside the script, hides it"
        told = f"the names of bitsandbytes {known[0]} to {known[-1]}, read from the wheels"
        yield Finding(
            rule=NAME,
            severity="warning",
            title="what is imported as bitsandbytes is not bitsandbytes",
            because=[quoted(signal), Because(f"every release has {name}", told, "mined")],
            fixes=[pip("reinstall", BNB, "", f"{why}: remove that first", verify=NAME)],
            undecided="which bitsandbytes is installed",
        )


def _mixed_files(case: Case) -> Iterator[Finding]:
    """Report a text that files of two packages in one folder print."""
    for signal in case.signals_of(NAME):
        row = answer_to(case, NAME, signal)
        if row is not None:
            what = "whether another package's files lie there is not known"
            yield answered(case, NAME, "warning", signal, row, what)


def shadowing(case: Case, package: str) -> tuple[FoundPackage, FoundPackage] | None:
    """Return the copy that is imported and the one it hides; None where there is no other one."""
    copies = [one for one in case.machine.facts.packages_found or () if one.name == package]
    others = [one for one in copies[1:] if one.version != copies[0].version]
    return (copies[0], others[0]) if others else None


def _place(copy: FoundPackage, what: str) -> Because:
    text = f"{copy.name} {copy.version or 'of an unknown version'} {what}: {copy.file or '?'}"
    return Because(text, "facts: packages_found", "inspected")


def _called(copy: FoundPackage) -> str:
    if copy.version is None and (_is_one_file(copy) or _is_pythons(copy.name)):
        return f"the file {copy.file}"
    if _is_pythons(copy.name):
        return f"Python {copy.version}'s own {copy.name}"
    return f"{copy.name} {copy.version or '?'}"


def _is_pythons(name: str) -> bool:
    """Whether a module is of Python's own library, which no installer brings."""
    return name in sys.stdlib_module_names


def _is_one_file(copy: FoundPackage) -> bool:
    """Whether it is a ``triton.py``: somebody's script, which no installer knows."""
    return copy.file is not None and "__init__." not in copy.file


def _fixes(case: Case, first: FoundPackage, second: FoundPackage) -> list[Fix]:
    why = f"{_called(second)} is imported then"
    one_file = _is_one_file(first)
    file = PurePath(first.file) if first.file else None
    folder = str(file.parent if one_file else file.parent.parent) if file else ""
    fixes = []
    if one_file or _is_pythons(first.name):
        what = f"rename {first.file if one_file else folder + '/' + first.name}: {why}"
        fixes.append(Fix(action="change-code", why=what, verify=NAME))
    if folder and folder in _entries(case):
        fixes.append(unset(_PATH, f"{folder} is on it; without, {why}", verify=NAME))
    return fixes or [
        Fix(
            action="uninstall",
            why=f"{why}; where pip does not know the copy, delete {first.file or 'it'}",
            applicability="unsafe",
            package=first.name,
            command=f"python -m pip uninstall -y {first.name}",
            verify=NAME,
        )
    ]


def _entries(case: Case) -> set[str]:
    """Return the folders on PYTHONPATH; of either system, since a description may be of any."""
    path = (case.machine.facts.env or {}).get(_PATH, "")
    separator = ";" if case.machine.os.value == "windows" else ":"
    return {entry.rstrip("/\\") for entry in path.split(separator) if entry}


RULE = rule(NAME, __doc__, find)
