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
    return dict(known_askers(case, name)).get(canonicalize_name(package))


def known_askers(case: Case, name: str) -> list[tuple[str, str]]:
    """Return the packages that are known to have asked for a name, and the first that does not."""
    named = _rows_of(case, name)
    return [(row["package"], row["without"]) for row in named if "without" in row]


class Importer(msgspec.Struct, frozen=True):
    """An installed package that imports a name: from which release on, up to which it does."""

    package: str
    version: str
    since: str
    without: str | None
    because: Because


def installed_importer(case: Case, name: str) -> Importer | None:
    """Return the stated package whose release is known to import a name; None for none."""
    table = case.matrix.table("name_askers")
    for row in _rows_of(case, name):
        own = case.machine.package(row["package"]).value
        version, since = parsed(own), parsed(row.get("since"))
        without = parsed(row.get("without"))
        if version is None or since is None or own is None or version < since:
            continue
        if without is None or version < without:
            because = cited(table, row, f"{row['package']} {own} imports {name}")
            return Importer(row["package"], own, row["since"], row.get("without"), because)
    return None


def _rows_of(case: Case, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = case.matrix.table("name_askers")["rows"]
    return [row for row in rows if row["name"] == name]


def _version(case: Case, package: str) -> str | None:
    """Return the stated version of a package, by either spelling of its name."""
    packages = case.machine.facts.packages or {}
    return packages.get(package) or packages.get(package.replace("-", "_"))
