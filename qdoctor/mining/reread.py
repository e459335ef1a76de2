"""One place in a wheel read again, and held against what the matrix says was read there.

What says that something is *not* there names a member and no symbol. For it the member's presence
in the same wheel, told by its sha256, is all that is checked; the miner alone reads it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement

from qdoctor.binaries import UnreadableBinary, read_library
from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.sources import sources_of
from qdoctor.sources.names import Names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

    from qdoctor.binaries import Library
    from qdoctor.mining.wheel import Wheel

_LIBRARY = (".so", ".dll", ".dylib")
_NAMES = ("names", "public_names")
_GLIBC = "GLIBC_"
_CHUNK = 2**20
_LINES_OF_A_STATEMENT = 4
_COMPARED = ("sm", "ptx", "glibc", "needs")


def difference(wheel: Wheel, key: str, value: object, place: Mapping[str, Any]) -> str:
    """Say what a member says otherwise than fact ``key`` does; ``""`` where it says the same.

    Raises ``UnreadableRelease`` for a member that cannot be read.
    """
    member, symbol = str(place["member"]), str(place.get("symbol", ""))
    if member.endswith(".dist-info/METADATA"):
        return _metadata(wheel, key, value, symbol)
    if key == "native":
        return _native(wheel, member, value)
    if symbol.startswith(_GLIBC):
        found = f"{_GLIBC}{_library(wheel, member).glibc}"
        return "" if found == symbol else f"it needs {found}, not {symbol}"
    if member.endswith(".py"):
        return _source(wheel, key, value, place)
    return "" if _holds(wheel, member, symbol.encode()) else f"it does not hold {symbol!r}"


def _metadata(wheel: Wheel, key: str, value: object, symbol: str) -> str:
    headers = wheel.metadata()
    requires = [str(one) for one in headers.get_all("Requires-Dist") or []]
    if key == "requires_python":
        found: object = str(headers.get("Requires-Python") or "")
    elif key == "requires_dist":
        found = requires
    elif symbol:
        found, value = sorted(map(_requirement, requires)), _requirement(symbol)
        return "" if value in found else f"it does not require {symbol}"
    elif isinstance(value, list):  # some of its requirements
        found = sorted(set(map(_requirement, map(str, value))) - set(map(_requirement, requires)))
        return f"it does not require {', '.join(found)}" if found else ""
    else:
        return ""
    return "" if found == value else f"it says {found!r}"


def _requirement(text: str) -> str:
    try:
        return str(Requirement(text))
    except InvalidRequirement:
        return text


def _native(wheel: Wheel, member: str, value: object) -> str:
    """Compare a library with the entries of that file name: one of them must be the same."""
    library, file = _library(wheel, member), member.rsplit("/", 1)[-1]
    stated = [one for one in value if one["file"] == file] if isinstance(value, list) else []
    found = {name: _plain(getattr(library, name)) for name in _COMPARED}
    if any(all(one.get(name) == found[name] for name in _COMPARED) for one in stated):
        return ""
    return f"{file} holds {', '.join(f'{name} {told}' for name, told in found.items())}"


def _plain(value: object) -> object:
    return list(value) if isinstance(value, (list, tuple)) else value


def _library(wheel: Wheel, member: str) -> Library:
    with wheel.opened(member) as stream:
        try:
            return read_library(stream)
        except UnreadableBinary as error:
            raise UnreadableRelease(f"{wheel.file.name}: {member}: {error}") from error


def _source(wheel: Wheel, key: str, value: object, place: Mapping[str, Any]) -> str:
    """Look for a symbol at its line; a list of names is made again from all sources."""
    member, symbol, line = str(place["member"]), str(place.get("symbol", "")), place.get("line")
    if symbol:
        lines = wheel.text(member).splitlines()
        here = lines[line - 1 : line - 1 + _LINES_OF_A_STATEMENT] if line else lines
        if any(symbol.rpartition(".")[2] in text for text in here):
            return ""
        return f"line {line} does not say {symbol}" if line else f"it does not say {symbol}"
    if key not in (*_NAMES, "closed_modules"):
        return ""
    names = Names(sources_of(wheel, member.partition("/")[0]))
    found = sorted(names.public()) if key in _NAMES else list(names.closed_modules())
    return "" if found == value else f"it now makes {len(found)} entries of {key}, or other ones"


def _holds(wheel: Wheel, member: str, wanted: bytes) -> bool:
    with wheel.opened(member) as stream:
        return _within(stream, wanted)


def _within(stream: IO[bytes], wanted: bytes) -> bool:
    """Search a stream for bytes, also across the borders of what is read at once."""
    tail = b""
    while chunk := stream.read(_CHUNK):
        if wanted in tail + chunk:
            return True
        tail = (tail + chunk)[-len(wanted) :] if wanted else b""
    return not wanted
