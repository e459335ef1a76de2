"""What the matrix says of an installed release, known only where every release it may be agrees.

A version such as ``4.46.x`` stands for several releases: a fact is taken from them only if all of
them have the same; otherwise it is unknown, with the reason.
"""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from qdoctor.model import Because

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from qdoctor.matrix import Matrix, Release
    from qdoctor.model import YesNo

T = TypeVar("T")


class Known(msgspec.Struct, Generic[T], frozen=True):
    """A value and why we hold it; ``None`` is unknown, and then ``reason`` says why."""

    value: T | None
    because: Because | None = None
    reason: str = ""


def unknown(reason: str) -> Known[Any]:
    """Return an unknown value with the reason for not knowing it."""
    return Known(None, None, reason)


@lru_cache(maxsize=512)
def release(matrix: Matrix, package: str, version: str) -> Release | None:
    """Return one release, decoded once: many questions are asked about the same few."""
    return matrix.release(package, version)


@lru_cache(maxsize=256)
def stable(matrix: Matrix, package: str) -> Mapping[str, Version]:
    """Return the known releases of a package that are no pre-releases, ascending, by their names.

    Searches for a release ask for them all the time.
    """
    known = {str(one): one for one in matrix.versions(package) if not one.is_prerelease}
    return MappingProxyType(known)


@lru_cache(maxsize=4096)
def fact(matrix: Matrix, package: str, version: str, key: str) -> Known[Any]:
    """Return a fact of a release, with its evidence; unknown where its candidates disagree."""
    found = matrix.matching(package, version)
    if not found:
        return unknown(f"the matrix does not know {package} {version}")
    values = [_fact(matrix, package, one, key) for one in found]
    if any(value is None for value in values):
        return unknown(f"the matrix does not know {key} of {package} {version}")
    if any(value != values[0] for value in values):
        return unknown(f"{package} {version} fits {len(found)} releases that differ in {key}")
    return Known(values[-1], matrix.because(package, found[-1], key))


@lru_cache(maxsize=8192)
def has(matrix: Matrix, package: str, version: str, dotted: str) -> YesNo:
    """Say whether every release that ``version`` may mean has a public dotted name."""
    answers = {matrix.has(package, one, dotted) for one in matrix.matching(package, version)}
    return answers.pop() if len(answers) == 1 else "unknown"


@lru_cache(maxsize=8192)
def fits(matrix: Matrix, package: str, version: str, spec: str) -> bool | None:
    """Say whether ``version`` lies in a PEP 440 specifier set; None where that cannot be told.

    Local parts (``+cu121``) do not count, pre-releases do. A prefix fits if all it may mean fit.
    """
    return _all_the_same(_inside(one, spec) for one in _candidates(matrix, package, version))


def row_for(
    matrix: Matrix, rows: list[dict[str, Any]], package: str, version: str
) -> dict[str, Any] | None:
    """Return the first row of a table whose ``spec`` holds ``version``; None for no certain one."""
    for row in rows:
        inside = fits(matrix, package, version, row["spec"])
        if inside is None:
            return None
        if inside:
            return row
    return None


@lru_cache(maxsize=2048)
def requirement(line: str) -> Requirement | None:
    """Parse a requirement of a release; None for what is none, or belongs to an extra."""
    try:
        found = Requirement(line)
    except InvalidRequirement:
        return None
    return None if "extra" in str(found.marker or "") else found


def cited(table: dict[str, Any], row: dict[str, Any], text: str) -> Because:
    """Turn a table's row into a reason; its ``source`` is a key of the table's ``sources``."""
    source = table.get("sources", {}).get(row["source"], row["source"])
    return Because(text=text, source=source, strength=row["strength"])


@lru_cache(maxsize=4096)
def parsed(version: str | None) -> Version | None:
    """Parse a version; None for one that is unknown, absent or not a version."""
    try:
        return Version(version) if version else None
    except ValueError:  # InvalidVersion, or a number of thousands of digits
        return None


@lru_cache(maxsize=2048)
def _fact(matrix: Matrix, package: str, version: str, key: str) -> Any:  # noqa: ANN401 - any JSON
    found = release(matrix, package, version)
    return found.facts.get(key) if found else None


def _candidates(matrix: Matrix, package: str, version: str) -> tuple[str, ...]:
    """Return the version itself where it can be parsed, else every release it may stand for."""
    return (version,) if parsed(version) else matrix.matching(package, version)


@lru_cache(maxsize=4096)
def _inside(version: str, spec: str) -> bool:
    public = Version(version).public
    return SpecifierSet(spec).contains(public, prereleases=True)


def _all_the_same(answers: Iterable[bool]) -> bool | None:
    distinct = set(answers)
    return distinct.pop() if len(distinct) == 1 else None


def called(package: str, version: str | None) -> str:
    """Name a release for people: ``triton 3.1.0``; ``this triton`` where it is not known."""
    return f"{package} {version}" if version else f"this {package}"
