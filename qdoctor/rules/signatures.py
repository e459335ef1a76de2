"""Recognizes known error texts: ``matrix/tables/signatures.json`` holds the patterns.

Each row is one text: a regular expression that fits its decisive line, the rules that are known to
print it (the likeliest first; facts decide among them), and the public thread or released file it
was read from. A row stands above every more general one that also fits: on one line of the text the
first row that fits is the only one that counts.

The first failure counts. What only follows from an earlier one (``role`` "echo": a library that was
not loaded is None from then on) and what needs no action ("notice") say something only where no
failure is known.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from qdoctor.rules.case import Signal
from qdoctor.rules.denied import denied
from qdoctor.rules.error_text import readable
from qdoctor.rules.partial_texts import parts_in
from qdoctor.rules.program_texts import known_texts
from qdoctor.rules.quoting import loosened, without_quotes
from qdoctor.rules.traceback_calls import callers, raising

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qdoctor.matrix import Matrix

_SHOWN = 200
_RETYPED = 2000
"""Characters of a text that someone may have typed; nobody types a log."""
_WRAPPED = re.compile(r"[ \t|\u2502\u2503>]*\n[ \t|\u2502\u2503>]*")
"""A line's end, with the frame of a table or of a quotation."""
_NARROW = 60
"""Columns of a terminal or a window below which nobody reads a log."""
_EXCEPTION = re.compile(r"(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception): \S")
"""The last line of a traceback."""
_LETTERS = 3
"""Letters in a row by which words are looked up in a text."""
_COVERS = "covers"
"""The group of a pattern whose lines say nothing on their own: what the match ends on counts."""
_ROLES = ("failure", "echo", "notice")
"""What a row's text is, the more telling first."""


def recognize(text: str, matrix: Matrix) -> tuple[Signal, ...]:
    """Return the known texts in ``text``, the first failure first; () where none is known."""
    return known_in(plain(text, matrix), matrix)


def plain(text: str, matrix: Matrix) -> str:
    """Return what of ``text`` can hold a known text, as plain lines."""
    return readable(text, matrix.table("signatures")["cues"])


def known_in(kept: str, matrix: Matrix) -> tuple[Signal, ...]:
    """Return the known texts in plain lines, as ``recognize`` does.

    In a short text of which nothing is known the case of letters does not count, nor how names are
    quoted, nor where lines break: it was retyped, or wrapped by a terminal or a table. Then a part
    of a known text is enough.
    """
    if len(kept) > _RETYPED:
        return _known_in(kept, matrix, retyped=False)
    return _known_in_short(kept, matrix)


@lru_cache(maxsize=64)
def _known_in_short(kept: str, matrix: Matrix) -> tuple[Signal, ...]:
    """Look into a text once, of however many machines it is told."""
    known = _known_in(kept, matrix, retyped=False)
    if known and _all_of_role(known, matrix, _ROLES[2]):
        return _beside_notices(kept, known, matrix) or known
    if known and not _only_follows(known, matrix):
        return _noticed(kept, known, matrix)
    for text, retyped in _other_readings(kept):
        found = _known_in(text, matrix, retyped=retyped)
        if not found or (known and _only_follows(found, matrix)):
            continue
        if not (_all_of_role(found, matrix, _ROLES[2]) and _fails_later(kept, 0)):
            return found
    if known and not all(_leaves_it_to_facts(one) for one in known):
        return known
    return parts_in(kept, matrix) or known_texts(kept, matrix) or known


def _beside_notices(kept: str, notices: tuple[Signal, ...], matrix: Matrix) -> tuple[Signal, ...]:
    """Return the failures in the other lines, of texts that no program prints to the letter.

    What is known there to the letter the notices stand above: it is a part of them.
    """
    lines = kept.split("\n")
    for one in notices:
        lines[kept.count("\n", 0, one.position)] = ""
    others = "\n".join(lines)
    if not others.strip() or _known_in(others, matrix, retyped=False):
        return ()
    found = known_in(others, matrix)
    return () if _all_of_role(found, matrix, _ROLES[2]) else found


def _noticed(kept: str, known: tuple[Signal, ...], matrix: Matrix) -> tuple[Signal, ...]:
    """Return what is known, but a notice of which only a part stands there in its own letters.

    The rows of notices stand above those of the failures that they quote.
    """
    notices = _may_match(kept, matrix, retyped=True, role=_ROLES[2])
    if not any(_pattern(row["pattern"], retyped=True).search(kept) for row in notices):
        return known
    loose = _known_in(kept, matrix, retyped=True)
    return loose if loose and _all_of_role(loose, matrix, _ROLES[2]) else known


def _leaves_it_to_facts(one: Signal) -> bool:
    """Say whether a text accuses nothing itself (a crash): what else is known of it comes first."""
    return set(one.rules) <= set(one.confirmed)


def _only_follows(known: tuple[Signal, ...], matrix: Matrix) -> bool:
    """Say whether what is known only follows from something else: that may be quoted otherwise."""
    return bool(known) and _all_of_role(known, matrix, _ROLES[1])


def _all_of_role(known: tuple[Signal, ...], matrix: Matrix, role: str) -> bool:
    return all(one.signature in _of_role(matrix, role) for one in known)


@lru_cache(maxsize=8)
def _of_role(matrix: Matrix, role: str) -> frozenset[str]:
    rows = matrix.table("signatures")["rows"]
    return frozenset(row["id"] for row in rows if row.get("role") == role)


def _other_readings(kept: str) -> Iterator[tuple[str, bool]]:
    """Yield a short text as it stands in other letters and quotes, and as one line."""
    yield kept, True
    if "\n" in kept.strip():
        yield _WRAPPED.sub(" ", kept.strip()), True
        if whole := _unbroken(kept):
            yield whole, True


def _unbroken(kept: str) -> str | None:
    """Join lines that a terminal broke at its last column, amid words; None where none can be.

    They are as long as the longest one.
    """
    lines = kept.split("\n")
    width = max(map(len, lines))
    full = [len(one) == width for one in lines]
    if width < _NARROW or not any(full[:-1]):
        return None
    return "".join(one + ("" if cut else "\n") for one, cut in zip(lines, full, strict=True))


def _known_in(kept: str, matrix: Matrix, *, retyped: bool) -> tuple[Signal, ...]:
    found: dict[int, tuple[str, Signal | None]] = {}
    for row in _may_match(kept, matrix, retyped=retyped):
        for match in _pattern(row["pattern"], retyped=retyped).finditer(kept):
            line = kept.count("\n", 0, match.end())
            above = range(line - (match.groupdict().get(_COVERS) or "").count("\n"), line)
            if found.keys() >= {line, *above} or denied(kept, *match.span(), matrix):
                continue
            if line not in found:
                found[line] = row.get("role", _ROLES[0]), _signal(row, match, matrix)
            for one in above:
                found.setdefault(one, ("", None))
    for role in _ROLES:
        lines = sorted(line for line, (said, _) in found.items() if said == role)
        if lines and not (role == _ROLES[2] and _fails_later(kept, max(found))):
            return tuple(signal for line in lines if (signal := found[line][1]))
    return ()


def _fails_later(kept: str, line: int) -> bool:
    """Say whether an exception that nothing is known of stands below a line: it ends a program."""
    return any(_EXCEPTION.match(one) for one in kept.split("\n")[line + 1 :])


def _may_match(
    kept: str, matrix: Matrix, *, retyped: bool, role: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the rows, in their order, of which a word is there that each match holds (``has``).

    Those of one role only, where one is given.
    """
    text = without_quotes(kept).lower() if retyped else kept
    rows_of = _rows_of_words(matrix, retyped, role)
    places = {place for word in _words_in(text, rows_of) for place in rows_of.all[word]}
    rows: list[dict[str, Any]] = matrix.table("signatures")["rows"]
    return (rows[place] for place in sorted(places))


class _RowsOfWords(NamedTuple):
    """The places of the rows by their words, and the words by three letters in a row of each.

    A word without three letters ("" stands for the rows without words) has itself.
    """

    all: dict[str, tuple[int, ...]]
    by_letters: dict[str, tuple[str, ...]]


def _words_in(text: str, rows_of: _RowsOfWords) -> Iterator[str]:
    """Yield the words that are in a text: only those are looked for of which three letters are."""
    letters = {text[at : at + _LETTERS] for at in range(len(text) - _LETTERS + 1)}
    for some in rows_of.by_letters.keys() & letters:
        yield from (word for word in rows_of.by_letters[some] if word in text)
    yield from (word for word in rows_of.by_letters.get("", ()) if word in text)


@lru_cache(maxsize=8)
def _rows_of_words(
    matrix: Matrix,
    retyped: bool,  # noqa: FBT001 - a cache's key
    role: str | None,
) -> _RowsOfWords:
    found: dict[str, list[int]] = {}
    for place, row in enumerate(matrix.table("signatures")["rows"]):
        if role is not None and row.get("role") != role:
            continue
        for word in row.get("has") or [""]:
            found.setdefault(without_quotes(word).lower() if retyped else word, []).append(place)
    return _RowsOfWords({word: tuple(places) for word, places in found.items()}, _by_letters(found))


def _by_letters(words: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the words by those three letters of each that the fewest of them have; "" for none."""
    runs = {
        word: [word[at : at + _LETTERS] for at in range(len(word) - _LETTERS + 1)] for word in words
    }
    common = Counter(run for each in runs.values() for run in set(each))
    found: dict[str, list[str]] = {}
    for word, each in runs.items():
        found.setdefault(min(each, key=common.__getitem__, default=""), []).append(word)
    return {run: tuple(some) for run, some in found.items()}


def _signal(row: dict[str, Any], match: re.Match[str], matrix: Matrix) -> Signal:
    text, end = match.string, match.end()
    return Signal(
        signature=row["id"],
        rules=tuple(row["rules"]),
        line=_line_at(text, max(end - 1, 0)),
        position=end,
        source=matrix.table("signatures")["sources"][row["source"]],
        said={name: said for name, said in match.groupdict().items() if said},
        printed_by=row.get("printed_by", {}),
        asked_by=callers(text, end),
        raised_in=raising(text, end),
        confirmed=tuple(row.get("confirmed", ())),
    )


def _line_at(text: str, position: int) -> str:
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    line = text[start : end if end >= 0 else len(text)].strip()
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"


@lru_cache(maxsize=4096)
def _pattern(pattern: str, *, retyped: bool) -> re.Pattern[str]:
    if retyped:
        return re.compile(loosened(pattern), re.MULTILINE | re.IGNORECASE)
    return re.compile(pattern, re.MULTILINE)
