"""Does the evidence still hold? Reads the named places again, in the wheels as they are now.

For each statement: the index still lists that wheel with that sha256, the wheel still has that
member, and the member still says it. Only the named member is read, not the whole release: what
depends on a whole package (the list of its names) reads its sources, nothing else.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from qdoctor.mining import reread
from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.index import WheelFile, wheels
from qdoctor.mining.wheel import open_wheel

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from qdoctor.matrix import Matrix, Release
    from qdoctor.mining.http import Transport

_THREADS = 4
_DRAWS_EACH = 20


@dataclass(frozen=True)
class Statement:
    """One fact of one release, and one of the places that prove it."""

    package: str
    version: str
    key: str
    value: Any
    place: dict[str, Any]


@dataclass(frozen=True)
class Checked:
    """What reading a place again showed; ``why`` says what differs or why it was not read."""

    statement: Statement
    outcome: Literal["holds", "changed", "unread"]
    why: str = ""


def sample(
    matrix: Matrix, releases: Sequence[tuple[str, str]], count: int, chance: random.Random
) -> list[Statement]:
    """Draw ``count`` different mined statements: a release first, then a fact, then a place.

    Fewer where the releases do not state as many; the same ``chance`` draws the same ones.
    """
    drawn: dict[str, Statement] = {}
    for _ in range(count * _DRAWS_EACH if releases else 0):
        if len(drawn) == count:
            break
        found = matrix.release(*chance.choice(releases))
        statement = _one_of(found, chance) if found else None
        if statement is not None:
            drawn.setdefault(repr(statement), statement)
    return sorted(drawn.values(), key=lambda one: (one.package, one.version, one.key))


def verify(
    statements: Sequence[Statement],
    index_url: str,
    transport: Transport,
    progress: Callable[[str], None],
) -> list[Checked]:
    """Read every statement's place again, in their order.

    Raises ``UnreadableRelease`` where the index does not answer: then nothing can be told.
    """
    files: dict[str, dict[str, WheelFile]] = {}
    for package in dict.fromkeys(one.package for one in statements):
        progress(f"asking the index for {package}")
        files[package] = {file.name: file for file in wheels(index_url, package, transport)}

    def one(statement: Statement) -> Checked:
        progress(f"{statement.package} {statement.version}: {statement.key}")
        return _checked(statement, files[statement.package], transport)

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(one, statements))


def _one_of(found: Release, chance: random.Random) -> Statement | None:
    mined = {
        key: places
        for key in sorted(found.facts)
        if (places := [one for one in found.evidence.get(key, ()) if _readable(one)])
    }
    if not mined:
        return None
    key = chance.choice(list(mined))
    place = chance.choice(mined[key])
    return Statement(found.package, found.version, key, found.facts[key], place)


def _readable(place: Mapping[str, Any]) -> bool:
    """Say whether a place lies in a released wheel: documents and runs are proved elsewhere."""
    return place["strength"] == "mined" and bool(place.get("wheel"))


def _checked(statement: Statement, files: Mapping[str, WheelFile], transport: Transport) -> Checked:
    place, file = statement.place, files.get(statement.place["wheel"])
    if file is None:
        return Checked(statement, "changed", "the index lists no such wheel any more")
    if file.sha256 != place["sha256"]:
        return Checked(statement, "changed", f"the index now gives it the sha256 {file.sha256}")
    try:
        why = _difference(statement, file, transport)
    except UnreadableRelease as error:
        return Checked(statement, "unread", str(error))
    return Checked(statement, "changed" if why else "holds", why)


def _difference(statement: Statement, file: WheelFile, transport: Transport) -> str:
    """Say what the wheel says otherwise than the statement; ``""`` for nothing."""
    place = statement.place
    if "member" not in place:
        symbol = str(place.get("symbol", ""))
        return "" if symbol in file.name else f"the wheel's name does not say {symbol}"
    with open_wheel(file, transport) as wheel:
        if place["member"] not in wheel.names:
            return f"the wheel has no member {place['member']} any more"
        return reread.difference(wheel, statement.key, statement.value, place)
