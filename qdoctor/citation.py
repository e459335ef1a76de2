"""Evidence of the matrix in a report's words: where it was read, and how strong it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.model import Strength

STRENGTHS: tuple[Strength, ...] = ("documented", "mined", "inspected", "observed")
"""Weakest first."""

_SHOWN_CHARACTERS = 120
_SHOWN_PLACES = 3


def weakest(items: Sequence[dict[str, Any]]) -> Strength | None:
    """Return the weakest strength among pieces of evidence; None for no evidence."""
    return min((item["strength"] for item in items), key=STRENGTHS.index, default=None)


def shown(value: object) -> str:
    """Return a fact's value as short text."""
    return _cut(msgspec.json.encode(value).decode())


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def cited(items: Sequence[dict[str, Any]]) -> str:
    """Return the places of the first pieces of evidence, and how many more there are."""
    more = len(items) - _SHOWN_PLACES
    places = list(dict.fromkeys(_place(item) for item in items[:_SHOWN_PLACES]))
    return "; ".join(places) + (f"; and {more} more" if more > 0 else "")


def _place(item: dict[str, Any]) -> str:
    """Return ``wheel member:line (symbol)``, or the source where no wheel was read."""
    names = [str(item[key]) for key in ("wheel", "member") if item.get(key)]
    line = f":{item['line']}" if item.get("line") else ""
    symbol = f" ({_cut(str(item['symbol']))})" if item.get("symbol") else ""
    return (" ".join(names) or str(item["source"])) + line + symbol
