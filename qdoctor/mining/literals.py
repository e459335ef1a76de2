"""What every match of a pattern holds: words to look for before the pattern is tried.

Most texts hold none of a row's words, and to look for a word takes a fraction of the time of a
search by pattern. ``python -m qdoctor.mining.literals`` renews the column ``has`` of the table
``signatures``; a test holds the column to the patterns.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

if sys.version_info >= (3, 11):
    from re import _parser as parser  # type: ignore[attr-defined]
else:  # pragma: no cover - the same module, by its older name
    import sre_parse as parser

TABLE = Path(__file__).parents[2] / "matrix" / "tables" / "signatures.json"
_SHORTEST = 3
"""Characters: shorter words are in every text."""
_MOST = 64
"""Words of one row: to look for more takes as long as the pattern."""


def words(pattern: str) -> list[str] | None:
    """Return words of which every match of a regular expression holds one; None for none known."""
    parsed: Any = parser.parse(pattern)  # iterable, which its type does not say
    found = _best(_of_sequence(parsed))
    return sorted(found) if found else None


def _of_sequence(sequence: Iterable[Any]) -> Iterator[set[str]]:
    """Yield sets of words; of each set a match holds one."""
    run = ""
    for operation, value in sequence:
        if operation is parser.LITERAL:
            run += chr(value)
            continue
        yield from _whole(run)
        run = ""
        if operation is parser.SUBPATTERN:
            yield from _of_sequence(value[-1])
        elif operation is parser.BRANCH:
            yield from _of_branches(value[1])
        elif operation in {parser.MAX_REPEAT, parser.MIN_REPEAT} and value[0] > 0:
            yield from _of_sequence(value[2])
    yield from _whole(run)


def _whole(run: str) -> Iterator[set[str]]:
    if len(run) >= _SHORTEST:
        yield {run}


def _of_branches(branches: Sequence[Any]) -> Iterator[set[str]]:
    """Yield one word of each branch, if each has one."""
    found = [_best(_of_sequence(one)) for one in branches]
    told = [one for one in found if one]
    if len(told) == len(branches):
        together = set().union(*told)
        if len(together) <= _MOST:
            yield together


def _best(found: Iterable[set[str]]) -> set[str]:
    """Choose the words that are likeliest to be missing: the longest, then the fewest."""
    return max(
        found, key=lambda one: (min(map(len, one)) >= _SHORTEST * 2, -len(one)), default=set()
    )


def renewed(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of the table with the column ``has`` as their patterns have it."""
    fresh = []
    for row in rows:
        kept = {key: value for key, value in row.items() if key != "has"}
        found = words(row["pattern"])
        fresh.append({**kept, "has": found} if found else kept)
    return fresh


def main() -> None:
    """Renew the table."""
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    table["rows"] = renewed(table["rows"])
    TABLE.write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
