"""``qdoctor matrix verify``: does what the matrix says still hold, and is it still new enough?"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import msgspec

from qdoctor import freshness, release_question
from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.index import configured
from qdoctor.mining.verify import sample, verify
from qdoctor.model import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from qdoctor.matrix import Matrix
    from qdoctor.mining.verify import Checked

_SEEDS = 2**32


class Order(msgspec.Struct, frozen=True):
    """How many statements to read again, of which releases; ``seed`` draws the same ones again."""

    sample: int = 20
    seed: int | None = None
    package: str | None = None
    only: str | None = None


def look_again(
    order: Order, matrix: Matrix, day: date, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Read a sample of the evidence again and say what was found, as plain values.

    Raises ``BadInput`` for releases that the matrix does not know and an index that does not
    answer.
    """
    started = time.monotonic()
    releases = _releases(order, matrix)
    seed = random.randrange(_SEEDS) if order.seed is None else order.seed  # noqa: S311 - a sample
    statements = sample(matrix, releases, order.sample, random.Random(seed))  # noqa: S311
    try:
        index_url, transport = configured()
        checked = verify(statements, index_url, transport, progress)
    except UnreadableRelease as error:
        raise BadInput(
            f"nothing could be read again: {error}; verifying needs the package index that pip is "
            "configured with"
        ) from error
    counts = {kind: _count(checked, kind) for kind in ("holds", "changed", "unread")}
    return {
        "matrix_version": matrix.version,
        "age_days": freshness.age(matrix, day),
        "old": freshness.notice(matrix, day) or "",
        "seed": seed,
        "sample": order.sample,
        **counts,
        "statements": [_plain(one) for one in checked],
        "bytes": transport.received,
        "requests": transport.requests,
        "seconds": round(time.monotonic() - started, 1),
    }


def _releases(order: Order, matrix: Matrix) -> list[tuple[str, str]]:
    """Return the releases to draw from. Raises ``BadInput`` where the matrix knows none."""
    if order.only:
        asked = release_question.read(order.only)
        found = release_question.find(matrix, asked)
        if found is None:
            raise BadInput(release_question.why_unknown(matrix, asked))
        return [(found.package, found.version)]
    packages = [order.package] if order.package else matrix.packages
    known = [(package, str(one)) for package in packages for one in matrix.versions(package)]
    if not known:
        raise BadInput(f"the matrix knows no release of {order.package}, so there is no evidence")
    return known


def _count(checked: list[Checked], outcome: str) -> int:
    return sum(one.outcome == outcome for one in checked)


def _plain(checked: Checked) -> dict[str, Any]:
    stated = checked.statement
    return {
        "package": stated.package,
        "version": stated.version,
        "fact": stated.key,
        "outcome": checked.outcome,
        "why": checked.why,
        "place": stated.place,
    }
