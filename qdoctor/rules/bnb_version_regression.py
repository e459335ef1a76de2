"""This bitsandbytes release is broken for a use, or lacks what its neighbours have.

## What it finds
A release without 4-bit layers where one is needed, and releases that are known to be broken for
some use: a file missing from the wheel, a module that asks its own package for a name that is gone,
wrong results. What goes wrong on some GPUs or CPUs only is reported where it strikes.

## Why it hurts
The layer cannot be built, the package cannot be imported, or results are wrong without an error.

## How we know
The public names of each released wheel are listed; broken releases stand in the matrix (table
`known_bad`), each with the file that shows it or the maintainers' own words. Releases that compute
wrongly were read and run, and a probe tries what it can here.

## Fix
Install a release that has what is missing. Where only some layers come out wrong, leaving those out
changes least.

## When to ignore
If nothing here needs what is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdoctor.layers import (
    bnb_accepts_torch,
    bnb_fits_libc,
    bnb_fits_python,
    bnb_has_fp4,
    bnb_has_nf4,
    bnb_imports,
)
from qdoctor.model import Because, Finding
from qdoctor.released import called, cited, fits, parsed
from qdoctor.rules.bnb_releases import BNB, serving
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.of_layer import of_layers
from qdoctor.rules.remedies import pip
from qdoctor.rules.wrong_results import findings, told_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.machine import Machine
    from qdoctor.model import Fix
    from qdoctor.rules.case import Case, Signal

NAME = "bnb-version-regression"
_TABLE = "known_bad"
_ALWAYS = "regression"
"""The kind of row that is said of its release whatever text there is."""
_KINDS = {_ALWAYS, "library-missing", "cxx-above-neighbours", "raises-on-some"}
_KEPT = (bnb_accepts_torch, bnb_fits_libc, bnb_fits_python, bnb_imports)


def find(case: Case) -> Iterator[Finding]:
    """Report a release that lacks 4-bit layers, is broken for a use, or computes wrongly here."""
    if not told_of(case, NAME, BNB):
        yield from _broken(case)
    yield from findings(case, NAME, BNB, _KEPT)


def _broken(case: Case) -> Iterator[Finding]:
    """Report what a release lacks, or breaks for everybody; beside a text only what prints it."""
    told, rows = bool(case.signals_of(NAME)), list(_rows(case))
    for row in rows:
        texts = _texts_of(case, row)
        if texts or (row["kind"] == _ALWAYS and not told):
            yield _known(case, row, texts)
    if not told:
        yield from _LAYERS.find(case)
    elif not rows and not case.machine.bitsandbytes.value:
        yield from _suspected(case)


def _rows(case: Case) -> Iterator[dict[str, Any]]:
    """Yield what is known to be broken in the release that may be installed."""
    version = case.machine.bitsandbytes.value
    releases = [version] if version else [one.bitsandbytes.value for one in case.candidates]
    for row in case.matrix.table(_TABLE)["rows"]:
        if row["package"] != BNB or row["kind"] not in _KINDS or _has_newer_cxx(case, row):
            continue
        if releases and all(one and fits(case.matrix, BNB, one, row["spec"]) for one in releases):
            yield row


def _texts_of(case: Case, row: dict[str, Any]) -> list[Signal]:
    """Return the texts that speak of a row: its own, or of one that names none those of no row."""
    if "texts" in row:
        return [one for one in case.signals_of(NAME) if one.signature in row["texts"]]
    return _of_no_row(case)


def _of_no_row(case: Case) -> list[Signal]:
    rows = case.matrix.table(_TABLE)["rows"]
    named = {text for row in rows for text in row.get("texts", ())}
    return [one for one in case.signals_of(NAME) if one.signature not in named]


def _has_newer_cxx(case: Case, row: dict[str, Any]) -> bool:
    """Say whether the C++ library here is known to have what a release asks of it."""
    host = case.machine.facts.host
    asked, own = parsed(row.get("glibcxx")), parsed(host.glibcxx if host else None)
    return asked is not None and own is not None and own >= asked


def _known(case: Case, row: dict[str, Any], texts: list[Signal]) -> Finding:
    bnb = f"bitsandbytes {case.machine.bitsandbytes.value or row['spec']}"
    text = f"{bnb}: {row['text']}"
    return Finding(
        rule=NAME,
        severity="note",
        title=f"{bnb} is known to be broken",
        because=[cited(case.matrix.table(_TABLE), row, text), *map(quoted, texts)],
        fixes=_repaired(case),
        affects=row.get("affects", []),
    )


def _suspected(case: Case) -> Iterator[Finding]:
    """Suspect a release that is not known of what its text says."""
    if texts := _of_no_row(case):
        yield Finding(
            rule=NAME,
            severity="note",
            title="this bitsandbytes is a release that is known to be broken",
            because=[
                Because("its text says so", "the error text", "observed"),
                *map(quoted, texts),
            ],
            fixes=_repaired(case),
            undecided="which release of bitsandbytes this is is not known",
        )


def _repaired(case: Case) -> list[Fix]:
    """Offer the nearest release of which nothing is known that ails this one."""
    ailing = [row["spec"] for row in _rows(case)]

    def sound(machine: Machine) -> bool:
        version = machine.bitsandbytes.value or ""
        return not any(fits(case.matrix, BNB, version, spec) for spec in ailing)

    back = [row["before"] for row in _rows(case) if "before" in row]
    if back:
        why = f"bitsandbytes {back[0]} and older do not have this"
        spec = f"=={back[0]}"
        older = [pip("downgrade", BNB, spec, why, verify=NAME)]
        return [*older, *serving(case, [], "this is repaired there", verify=NAME, also=sound)]
    return serving(case, [], "this is repaired there", verify=NAME, also=sound)


def _title(case: Case) -> str:
    return f"{called('bitsandbytes', case.machine.bitsandbytes.value)} has no 4-bit layers"


def _fixes(case: Case) -> list[Fix]:
    return serving(case, [bnb_has_nf4, bnb_has_fp4], "it has the 4-bit layers", verify=NAME)


_LAYERS = of_layers(
    NAME, __doc__, (bnb_has_nf4, bnb_has_fp4), severity="note", title=_title, fixes=_fixes
)
RULE = rule(NAME, __doc__, find)
