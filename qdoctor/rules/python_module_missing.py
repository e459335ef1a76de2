"""A Python module is missing: what imports it does not require it, or nothing brings it any more.

## What it finds
A bitsandbytes whose import asks for a package (scipy, numpy) that is known to be absent, or an
error text that names a module whose package is not installed; or a name that is imported only
where its package was found.

## Why it hurts
Importing ends in `ModuleNotFoundError: No module named 'scipy'`. Some releases do not name what
they import in their metadata, so no installer brings it along; `pkg_resources` left setuptools.

## How we know
What bitsandbytes imports is read from the released files; which package a module belongs to, and
which releases of it have the module, from the data; what is installed, from the packages.

## Fix
Install the missing package, in a release that has the module.

## When to ignore
Never, if the package is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import structs
from packaging.utils import canonicalize_name
from packaging.version import Version

from qdoctor.layers import bnb_imports
from qdoctor.model import Because, Finding, Fix
from qdoctor.released import cited, fact, fits
from qdoctor.rules import hub_names, misleading_import_check
from qdoctor.rules.case import accused, quoted, rule
from qdoctor.rules.of_layer import of_layers
from qdoctor.rules.remedies import pip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Action
    from qdoctor.rules.case import Case

NAME = "python-module-missing"
ASKED = "asked"
"""How the data marks a module that a build leaves out unless an option names it."""
_NINJA = "ninja-required"
_GUARDED = ("accelerate", "flash_attn", "hqq", "eetq", "deepspeed", "torchao", "autoawq_kernels")
_BY_PACKAGE = {
    *("package-wanted", "package-named-missing", "package-metadata-missing"),
    *("requirement-absent", "library-wanted", "optimizer-of-sd-scripts"),
}
"""The rows of signatures whose texts name what pip installs."""


def find(case: Case) -> Iterator[Finding]:
    """Report what bitsandbytes needs in vain, else the module that an error text names."""
    own = [one for one in _OF_BNB.find(case) if one.undecided is None]
    yield from own
    if not own:
        yield from _guarded(case) or _named(case)


def _named(case: Case) -> Iterator[Finding]:
    """Report the module of an error text where its package, or that release of it, is absent."""
    module = case.said(NAME, "module") or _by_name(case)
    told = accused(case, NAME, f"whether {module} is installed is not known")
    if told is None or module is None or _asked_by_transformers(case):
        return
    row = _row(case, module)
    if row is None:  # it may be the user's own
        return
    version = case.machine.package(row["package"]).value
    if row.get("compiled") == ASKED and version is None:  # what is there of it lacks that part
        return
    if version and not _lacks_it(case, version, row):
        return
    known = case.machine.facts.packages_found is not None or version is not None
    yield Finding(
        rule=NAME,
        severity="error",
        title=f"the module {module} is not there",
        because=[*_why(case, module, version, row), *told.because],
        fixes=[_install(module, version, row)],
        undecided=None if known else told.undecided,
    )


def _asked_by_transformers(case: Case) -> bool:
    """Say whether a check of transformers misses it, which may be installed: another rule."""
    return any(misleading_import_check.asked_in_vain(case, one) for one in case.signals_of(NAME))


def _guarded(case: Case) -> list[Finding]:
    """Report a name that was not imported, since its package was found missing, or too old."""
    said = [(one, each) for one in case.signals_of(NAME) for each in _GUARDED if each in one.said]
    if not said:
        return []
    signal, folder = said[0]
    package, name = canonicalize_name(folder), signal.said[folder]
    version = case.machine.package(package).value
    why = f"{name} is imported only where {package} is found; install it, then begin a new process"
    later = "it was installed after the process began, or is older than what asks for it wants"
    fixes = [pip("install", package, "", why, verify=NAME)]
    if version:
        since = (came := hub_names.first_with(case, folder, name)) and Version(came).base_version
        newer = pip("upgrade", package, f">={since}" if since else "", later, verify=NAME)
        fixes = [Fix(action="restart-kernel", why=later), newer]
        if since and fits(case.matrix, package, version, f">={since}") is False:
            fixes.reverse()
    title = f"{package}, which has {name}, was not found when the program began"
    told = Because(f"{name} is of {package}", "names imported under a guard", "mined")
    undecided = None if version else f"whether {package} is installed is not known"
    return [Finding(NAME, "error", title, [quoted(signal), told], fixes, undecided=undecided)]


def _by_name(case: Case) -> str | None:
    """Name the module of a text that names it in words of its own."""
    return "ninja" if any(one.signature == _NINJA for one in case.signals_of(NAME)) else None


def _row(case: Case, module: str) -> dict[str, Any] | None:
    """Return what brings a module; None for one that is not known. A text may name the package."""
    rows: dict[str, dict[str, Any]] = case.matrix.table("python_modules")["rows"]
    named = any(one.signature in _BY_PACKAGE for one in case.signals_of(NAME))
    return {"package": canonicalize_name(module), "spec": ""} if named else rows.get(module)


def _lacks_it(case: Case, version: str, row: dict[str, Any]) -> bool:
    return bool(row["spec"]) and fits(case.matrix, row["package"], version, row["spec"]) is False


def _why(case: Case, module: str, version: str | None, row: dict[str, Any]) -> list[Because]:
    package = row["package"]
    if not version:
        text = f"{package}, which has {module}, is not among the installed packages"
        return [Because(text, "facts: packages", "inspected")]
    text = f"{package} has {module} in releases {row['spec']} only, installed is {version}"
    return [cited(case.matrix.table("python_modules"), row, text)]


def _install(module: str, version: str | None, row: dict[str, Any]) -> Fix:
    why = f"it has the module {module}"
    action: Action = "downgrade" if version else "install"
    fix = pip(action, row["package"], row["spec"], why, verify=NAME)
    return structs.replace(fix, command=row["command"]) if "command" in row else fix


def _title(case: Case) -> str:
    return (
        f"bitsandbytes {case.machine.bitsandbytes.value} cannot be imported: a package is missing"
    )


def _fixes(case: Case) -> list[Fix]:
    version = case.machine.bitsandbytes.value or ""
    needed = fact(case.matrix, "bitsandbytes", version, "import_needs_modules").value or []
    names = [name.replace("_", "-") for name in needed]
    why = f"importing bitsandbytes {version} asks for it"
    return [
        pip("install", name, "", why, verify=NAME)
        for name in names
        if case.machine.package(name).value == ""
    ]


_OF_BNB = of_layers(NAME, __doc__, (bnb_imports,), severity="error", title=_title, fixes=_fixes)

RULE = rule(NAME, __doc__, find)
