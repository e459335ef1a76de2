"""The package that a traceback blames for asking in vain, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from packaging.utils import canonicalize_name

from qdoctor.released import cited, parsed
from qdoctor.rules.remedies import pip

if TYPE_CHECKING:
    from qdoctor.model import Because, Fix
    from qdoctor.rules.case import Case, Signal

_BY_HAND, _MINED = "name_askers", "imported_names"
"""The tables of who imports what: where the first knows a package, it counts."""


def asker(signal: Signal, but: str) -> str | None:
    """Return the installed module whose code asked last, other than ``but``, which was asked.

    None where the traceback shows none: a script is nobody's release.
    """
    return next((one for one in signal.asked_by if one not in {but, "triton"}), None)


def blamed(case: Case, signal: Signal, but: str) -> str | None:
    """Name the distribution of the ``asker``; None for unknown."""
    module = asker(signal, but)
    if module is None:
        return None
    rows = case.matrix.table("python_modules")["rows"]
    return str(rows.get(module, {}).get("package", module.replace("_", "-")))


def older(case: Case, package: str | None, why: str, *, verify: str) -> list[Fix]:
    """Offer an older release of the package that asks; [] for no package."""
    if package is None:
        return []
    version = parsed(_version(case, package))
    spec = f"<{version.public}" if version else ""
    return [pip("downgrade", package, spec, why, verify=verify, applicability="unsafe")]


def newer(case: Case, package: str | None, why: str, *, verify: str, name: str = "") -> list[Fix]:
    """Offer a newer release of the package that asks: one that asks for ``name`` no more, if known.

    [] for no package.
    """
    if package is None:
        return []
    version, without = parsed(_version(case, package)), without_asking(case, package, name)
    spec = f">={without}" if without else f">{version.public}" if version else ""
    return [pip("upgrade", package, spec, why, verify=verify, applicability="unsafe")]


def without_asking(case: Case, package: str, name: str) -> str | None:
    """Return the first release of a package that asks for a name no more; None for unknown."""
    own = canonicalize_name(package)
    mined = (row for row in _mined(case, name) if row["package"] == own and "without" in row)
    said = dict(known_askers(case, name)).get(own)
    return said or next((row["without"] for row in mined), None)


def known_askers(case: Case, name: str) -> list[tuple[str, str]]:
    """Return the packages that are known to have asked for a name, and the first that does not."""
    named = _rows_of(case, name)
    return [(row["package"], row["without"]) for row in named if "without" in row]


class Importer(msgspec.Struct, frozen=True):
    """An installed package that imports a name: from which release on, up to which it does."""

    package: str
    version: str
    since: str | None
    without: str | None
    because: Because


def installed_importer(case: Case, name: str, signal: Signal) -> Importer | None:
    """Return the stated package whose release is known to import a name; None for none.

    Where a traceback shows who asked, it has to be among them.
    """
    by_hand = [row for row in _rows_of(case, name) if "since" in row]
    known = {row["package"] for row in by_hand}
    mined = [row for row in _mined(case, name) if row["package"] not in known]
    tables = case.matrix.table(_BY_HAND), case.matrix.table(_MINED)
    for table, rows in zip(tables, (by_hand, mined), strict=True):
        for row in rows:
            own = case.machine.package(row["package"]).value
            if own is None or not _imports(row, own) or not _may_have_asked(case, row, signal):
                continue
            because = cited(table, row, f"{row['package']} {own} imports {name}")
            return Importer(row["package"], own, row.get("since"), row.get("without"), because)
    return None


def _imports(row: dict[str, Any], own: str) -> bool:
    """Say whether a release is one of those that import a name."""
    version, first = parsed(own), parsed(row.get("since") or row["first"])
    without = parsed(row.get("without"))
    if version is None or first is None or version < first:
        return False
    return without is None or version < without


def _may_have_asked(case: Case, row: dict[str, Any], signal: Signal) -> bool:
    if not signal.asked_by:
        return True
    rows = case.matrix.table("python_modules")["rows"]
    named = (rows.get(one, {}).get("package", one) for one in signal.asked_by)
    return row["package"] in {canonicalize_name(one) for one in named}


def _rows_of(case: Case, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = case.matrix.table(_BY_HAND)["rows"]
    return [row for row in rows if row["name"] == name]


def _mined(case: Case, name: str) -> list[dict[str, Any]]:
    """Return who imports a name as rows like those by hand, with the first release looked at."""
    table = case.matrix.table(_MINED)
    stated = {"source": table["source"], "strength": table["strength"]}
    return [
        {**row["names"][name], **stated, "package": package, "first": row["releases"][0]}
        for package, row in table["rows"].items()
        if name in row["names"]
    ]


def _version(case: Case, package: str) -> str | None:
    """Return the stated version of a package, by either spelling of its name."""
    packages = case.machine.facts.packages or {}
    return packages.get(package) or packages.get(package.replace("-", "_"))
