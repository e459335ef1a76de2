"""What pip would not get here, and why: another project's name, no release, no wheel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from qdoctor.pip_command import name_of
from qdoctor.released import parsed
from qdoctor.rules.remedies import listed
from qdoctor.rules.triton_releases import WINDOWS
from qdoctor.rules.wheels_here import none_here

if TYPE_CHECKING:
    from qdoctor.pip_command import Request
    from qdoctor.rules.case import Case

_TABLE = "index_names"


def row_of(case: Case, requirement: str) -> dict[str, Any]:
    """Return what is known of a package's name on the package index; {} for nothing."""
    rows: dict[str, dict[str, Any]] = case.matrix.table(_TABLE)["rows"]
    return rows.get(canonicalize_name(name_of(requirement)), {})


def unobtainable(request: Request, case: Case) -> str:
    """Say why a command of pip cannot get what it asks for; ``""`` where it may."""
    return _not_on_the_index(request, row_of(case, request.wanted[0]), case) or _not_here(
        request, case
    )


def no_wheel_here(request: Request, case: Case) -> str:
    """Say why none of the releases that are wanted has a wheel here; ``""`` where one may have."""
    name = name_of(request.wanted[0])
    spec = request.wanted[0].removeprefix(name)
    return none_here(case, canonicalize_name(name), spec, any_system=request.index is not None)


def _not_on_the_index(request: Request, row: dict[str, Any], case: Case) -> str:
    """Say why the index does not have what is meant; ``""`` where it does."""
    if "other" in row:
        return f"the index has {row['other']} under this name; {row['instead']}"
    if "systems" in row and case.machine.os.value not in {None, *row["systems"]}:
        return f"the index has wheels of it for {listed(row['systems'])} alone; {row['instead']}"
    if "until" not in row:
        return ""
    spec = request.wanted[0].removeprefix(name_of(request.wanted[0]))
    inside = SpecifierSet(spec).contains(row["until"]) and (spec or not request.newer)
    return "" if inside else f"the index has releases up to {row['until']}; {row['instead']}"


def _not_here(request: Request, case: Case) -> str:
    """Say why nothing that is wanted can be installed here; ``""`` where something may be.

    Of another index only the Pythons of its releases are known.
    """
    name = name_of(request.wanted[0])
    spec = request.wanted[0].removeprefix(name)
    known = case.matrix.versions(name) if name == WINDOWS else ()
    if known and not any(SpecifierSet(spec).contains(one) for one in known):
        return f"its releases go from {known[0]} to {known[-1]}"
    pinned_to = parsed(spec.removeprefix("=="))
    if pinned_to is not None and pinned_to.is_devrelease:
        return "from where the installed one is: it is no release"
    return no_wheel_here(request, case)
