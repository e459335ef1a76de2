"""A package is installed by its metadata, but there is nothing to import.

## What it finds
A package that installers show as installed and whose module is not there: an interrupted or partly
deleted install, an editable install whose folder is gone; or a package whose own code imports a
part of itself that is not there: files of two releases lie over each other; or a module that is
compiled, which a build from source left out.

## Why it hurts
`import` fails with `No module named …`, while every tool says that the package is installed, and an
installer asked for it changes nothing.

## How we know
The metadata folder is there, and Python's own import system finds no module; or the traceback ends
in the package's own code.

## Fix
Install the same release anew, over what is left of it.

## When to ignore
Never.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdoctor.model import Because, Finding, Fix
from qdoctor.released import cited
from qdoctor.rules import hub_names
from qdoctor.rules.case import accused, quoted, rule
from qdoctor.rules.of_text import of_texts
from qdoctor.rules.python_module_missing import ASKED
from qdoctor.rules.remedies import pip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case, Signal

NAME = "package-files-missing"
_OF_TEXTS = of_texts(NAME, __doc__, severity="error")
_KEY = "packages_found."


def find(case: Case) -> Iterator[Finding]:
    """Report packages of which only the metadata is there."""
    packages = case.machine.facts.packages or {}
    yield from _OF_TEXTS.find(case)
    yield from (_mixed(case, one) for one in case.signals_of(NAME) if _misses_itself(one))
    yield from (one for signal in case.signals_of(NAME) for one in _without(case, signal))
    yield from (one for signal in case.signals_of(NAME) for one in _uncompiled(case, signal))
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


def _misses_itself(signal: Signal) -> bool:
    """Say whether a package's own code imports what that package does not have."""
    owner = hub_names.missed(signal)[0] or signal.said.get("missing") or signal.said.get("origin")
    asked = "attribute" not in signal.said and "name_missing3" not in signal.said
    return bool(owner) and asked and (owner or "").partition(".")[0] == signal.raised_in


def _mixed(case: Case, signal: Signal) -> Finding:
    """Report a package whose files are of two releases."""
    package = signal.raised_in.replace("_", "-")
    version = case.machine.package(package).value
    why = "its own code misses a part of it: its files are not all of one release"
    return Finding(
        rule=NAME,
        severity="error",
        title=f"files of {package} are missing, or of another release than the rest",
        because=[quoted(signal)],
        fixes=[pip("reinstall", package, f"=={version}" if version else "", why, verify=NAME)],
    )


def _without(case: Case, signal: Signal) -> Iterator[Finding]:
    """Report a known package that is there without the part of it that a text names."""
    module = signal.said.get("part_of") or signal.said.get("part_of2")
    row = case.matrix.table("python_modules")["rows"].get(module)
    if row is None or module == signal.raised_in:  # it may be the user's own
        return
    package, part = row["package"], f"{module}.{signal.said.get('part') or signal.said['part2']}"
    version = case.machine.package(package).value
    why = f"an install that broke off, or one from sources that left parts out, lacks {part}"
    yield Finding(
        rule=NAME,
        severity="error",
        title=f"{package} {version or ''} is there without {part}".replace("  ", " "),
        because=[quoted(signal)],
        fixes=[
            pip("reinstall", package, f"=={version}" if version else "", why, verify=NAME),
            pip("upgrade", package, "", f"where {part} is newer than this release", verify=NAME),
        ],
        undecided=f"whether this release of {package} has {part}",
    )


def _uncompiled(case: Case, signal: Signal) -> Iterator[Finding]:
    """Report a package that is there without a module that is compiled as it is built."""
    module = signal.said.get("module") or signal.said.get("compiled") or ""
    row = case.matrix.table("python_modules")["rows"].get(module, {})
    version = case.machine.package(row["package"]).value if "compiled" in row else ""
    asked = row.get("compiled") == ASKED
    if version == "" or not (version or asked):
        return
    yield Finding(
        rule=NAME,
        severity="error",
        title=f"{row['package']} {version or ''} is there without {module}".replace("  ", " "),
        because=[quoted(signal), *([_left_out(case, module, row)] if asked else [])],
        fixes=_unasked(module, row) if asked else _anew(module, row["package"]),
        undecided=None if version else f"whether {row['package']} is installed",
    )


def _left_out(case: Case, module: str, row: dict[str, Any]) -> Because:
    text = f"a build of {row['package']} compiles {module} only where its options ask for it"
    return cited(case.matrix.table("python_modules"), row, text)


def _unasked(module: str, row: dict[str, Any]) -> list[Fix]:
    """Offer a build that is asked for the module, or to do without the package."""
    package = row["package"]
    build = f"built with the options that ask for it, it has {module}"
    unused = f"what takes {package} only where it is there goes on without"
    command = f"python -m pip uninstall -y {package}"
    return [
        Fix("rebuild", build, package=package, command=row.get("command"), verify=NAME),
        Fix("uninstall", unused, package=package, command=command, verify=NAME),
    ]


def _anew(module: str, package: str) -> list[Fix]:
    own = f"compiled against the torch that is installed, it has {module}"
    return [
        pip("reinstall", package, "", f"its wheels have {module}", verify=NAME),
        Fix("rebuild", own, package=package, verify=NAME),
    ]


def _modules(package: str) -> set[str]:
    return {package, package.replace("-", "_")}


RULE = rule(NAME, __doc__, find)
