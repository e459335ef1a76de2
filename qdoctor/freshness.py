"""How old the compatibility data is, and whether a report should say so."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qdoctor.matrix import Matrix


def today() -> date:
    """Return today's date, UTC, as data versions are."""
    return datetime.now(timezone.utc).date()


def age(matrix: Matrix, day: date) -> int:
    """Return how many days before ``day`` the data last changed; 0 for data of a later day."""
    year, month, number = map(int, matrix.version.partition("+")[0].split("."))
    return max((day - date(year, month, number)).days, 0)


def notice(matrix: Matrix, day: date) -> str | None:
    """Say that the data is old, where it is older than its table ``freshness`` allows."""
    old = age(matrix, day)
    row = matrix.table("freshness")["rows"]["matrix"]
    if old <= row["days"]:
        return None
    return (
        f"the compatibility data {matrix.version} still tells what is released, though it is "
        f"{old} days old; a newer qdoctor brings newer data"
    )
