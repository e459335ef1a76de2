"""The package that a traceback blames for asking in vain, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.released import parsed
from qdoctor.rules.remedies import pip

if TYPE_CHECKING:
    from qdoctor.model import Fix
    from qdoctor.rules.case import Case, Signal

_ASKED = frozenset({"torch", "triton", "bitsandbytes"})
"""What is asked rather than asks: its own calls lead to the name, whoever began."""


def blamed(case: Case, signal: Signal) -> str | None:
    """Name the package (as its distribution is called) whose code asked last; None for unknown.

    Code that is not installed as a package, such as a script, is nobody's release: None as well.
    """
    module = next((one for one in signal.asked_by if one not in _ASKED), None)
    if module is None:
        return None
    rows = case.matrix.table("python_modules")["rows"]
    named = rows.get(module, {}).get("package", module.replace("_", "-"))
    return str(named)


def older(case: Case, signal: Signal, why: str, *, verify: str) -> list[Fix]:
    """Offer an older release of the package that asks; [] where the traceback names none."""
    package = blamed(case, signal)
    if package is None:
        return []
    version = parsed(_version(case, package))
    spec = f"<{version.public}" if version else ""
    return [pip("downgrade", package, spec, why, verify=verify, applicability="unsafe")]


def newer(case: Case, signal: Signal, why: str, *, verify: str) -> list[Fix]:
    """Offer a newer release of the package that asks; [] where the traceback names none."""
    package = blamed(case, signal)
    if package is None:
        return []
    version = parsed(_version(case, package))
    spec = f">{version.public}" if version else ""
    return [pip("upgrade", package, spec, why, verify=verify, applicability="unsafe")]


def _version(case: Case, package: str) -> str | None:
    """Return the stated version of a package, by either spelling of its name."""
    packages = case.machine.facts.packages or {}
    return packages.get(package) or packages.get(package.replace("-", "_"))
