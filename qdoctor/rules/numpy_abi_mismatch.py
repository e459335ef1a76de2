"""An extension was compiled for another numpy ABI than the installed numpy has.

## What it finds
A compiled package (scipy, an older torch, a user's extension) that was built against numpy 1 and
runs beside numpy 2, by the text that it fails with.

## Why it hurts
Importing it fails (`numpy.dtype size changed`, `numpy.core.multiarray failed to import`), or torch
goes on without numpy (`Numpy is not available`).

## How we know
The text comes from numpy's own check; which releases share an ABI is documented by numpy.

## Fix
The numpy that the extension was compiled for, or a newer release of the package.

## When to ignore
Never, if what failed is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Finding
from qdoctor.released import cited, fits, parsed
from qdoctor.rules.case import accused, quoted, rule
from qdoctor.rules.remedies import pip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix
    from qdoctor.rules.case import Case, Signal

NAME = "numpy-abi-mismatch"


def find(case: Case) -> Iterator[Finding]:
    """Report a text of numpy's ABI check, unless the installed numpy has no older ABI to miss."""
    version = case.machine.package("numpy").value
    told = accused(case, NAME, "which numpy is installed is not known")
    if told is None or version == "":
        return
    older = [one for one in case.signals_of(NAME) if _is_older(one)]
    if older:
        yield _too_old(case, older[0])
        return
    table = case.matrix.table("numpy_abi")
    row = next((one for one in table["rows"] if _holds(case, version, one["spec"])), None)
    if row is None:
        return
    text = f"numpy {version or row['spec']} does not run what was compiled for numpy{row['older']}"
    yield Finding(
        rule=NAME,
        severity="error",
        title=f"a package was compiled for numpy{row['older']}, not for {version or row['spec']}",
        because=[cited(table, row, text), *told.because],
        fixes=[
            pip("downgrade", "numpy", row["older"], "what was compiled for it runs", verify=NAME),
            *_newer(case),
        ],
        undecided=None if version else told.undecided,
    )


def _is_older(signal: Signal) -> bool:
    """Say whether a text states two versions of numpy's C-API, the running one the older."""
    built, found = signal.said.get("built"), signal.said.get("found")
    return bool(built and found) and int(found or "0", 16) < int(built or "0", 16)


def _too_old(case: Case, signal: Signal) -> Finding:
    """Report a numpy that is older than the one that a package was compiled for."""
    version = case.machine.package("numpy")
    why = "an extension runs with the numpy it was compiled for, and newer ones of that major"
    spec = f">{version.value}" if parsed(version.value) else ""
    return Finding(
        rule=NAME,
        severity="error",
        title=f"numpy {version.value or ''} is older than what a package was compiled for",
        because=[quoted(signal), *([version.because] if version.because else [])],
        fixes=[pip("upgrade", "numpy", spec, why, verify=NAME)],
    )


def _holds(case: Case, version: str | None, spec: str) -> bool:
    return version is None or fits(case.matrix, "numpy", version, spec) is not False


def _newer(case: Case) -> list[Fix]:
    """Offer a newer release of the package that the traceback ends in."""
    name = (case.said(NAME, "package") or "").replace("_", "-").lower()
    version = parsed((case.machine.facts.packages or {}).get(name))
    if version is None or name == "numpy":
        return []
    why = f"newer releases of {name} are compiled for both"
    return [pip("upgrade", name, f">{version}", why, verify=NAME, applicability="unsafe")]


RULE = rule(NAME, __doc__, find)
