"""The package that a traceback blames for asking in vain, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.released import parsed
from qdoctor.rules.remedies import pip

if TYPE_CHECKING:
    from qdoctor.model import Fix
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


def newer(case: Case, package: str | None, why: str, *, verify: str) -> list[Fix]:
    """Offer a newer release of the package that asks; [] for no package."""
    if package is None:
        return []
    version = parsed(_version(case, package))
    spec = f">{version.public}" if version else ""
    return [pip("upgrade", package, spec, why, verify=verify, applicability="unsafe")]


def _version(case: Case, package: str) -> str | None:
    """Return the stated version of a package, by either spelling of its name."""
    packages = case.machine.facts.packages or {}
    return packages.get(package) or packages.get(package.replace("-", "_"))
