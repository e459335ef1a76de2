"""Recognizes a known text of which a part was pasted: a line that breaks off or begins too late.

A pattern of ``signatures.json`` wants its text whole. People paste what fits a title, or what a
terminal shows. The rows' examples are whole texts: a line whose words run along one of them, and
along none of another meaning, is a part of it. Numbers stand for any number, punctuation for none.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from qdoctor.rules.case import Signal
from qdoctor.rules.denied import denied
from qdoctor.rules.quoting import loosened
from qdoctor.rules.traceback_calls import callers, raising

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.matrix import Matrix

_LEAST = 5
"""Words in which a line and an example agree, where one of them begins there."""
_SURE = 7
"""Words in which they agree, where both say something else before."""
_NAME = 2
"""Words that may be missing at an example's beginning: the exception's name, with its module."""
_WORD = re.compile(r"[a-z0-9_]+", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")
_NUMERIC = re.compile(r"[0_]+|.")
"""Words that many texts share: numbers, and single letters."""
_EXCEPTION = re.compile(r"^(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception)\b", re.MULTILINE)
_NOTICE = "notice"
_FLAGS = re.MULTILINE | re.IGNORECASE


class _Example(NamedTuple):
    row: dict[str, Any]
    text: str
    words: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]


class _Run(NamedTuple):
    """``length`` words of a line, from word ``at`` on, that are an example's from ``start`` on."""

    example: _Example
    at: int
    start: int
    length: int


def parts_in(text: str, matrix: Matrix) -> tuple[Signal, ...]:
    """Return the known text that a line of ``text`` is a part of, the first one; () for none.

    A part of a notice says nothing beside an exception that is not known.
    """
    place, failed = 0, _EXCEPTION.search(text) is not None
    for line in text.split("\n"):
        run = _of_one_meaning(line, matrix)
        if run is not None and not (failed and _is_notice(run)) and not _denied(run, line, matrix):
            return (_signal(run, line, place, text, matrix),)
        place += len(line) + 1
    return ()


def _is_notice(run: _Run) -> bool:
    return run.example.row.get("role") == _NOTICE


def _denied(run: _Run, line: str, matrix: Matrix) -> bool:
    first, last = _span(run, line)
    return denied(line, first, last, matrix)


def _span(run: _Run, line: str) -> tuple[int, int]:
    """Return where in the line the words of a run begin and end."""
    _, spans = _words(line)
    return spans[run.at][0], spans[run.at + run.length - 1][1]


def _of_one_meaning(line: str, matrix: Matrix) -> _Run | None:
    """Return the longest run; None for none, or where examples of several meanings share it."""
    runs = list(_runs(line, matrix))
    longest = [one for one in runs if one.length == max(each.length for each in runs)]
    meanings = {(one.example.row["rules"][0], one.example.row.get("role")) for one in longest}
    return longest[0] if len(meanings) == 1 else None


def _runs(line: str, matrix: Matrix) -> Iterator[_Run]:
    """Yield the runs that end with the line, long enough to be told from others."""
    words, _ = _words(line)
    for example, end in _index(matrix).get(words[-_LEAST:], ()):
        count = _LEAST
        while count < min(len(words), end) and words[-count - 1] == example.words[end - count - 1]:
            count += 1
        start = end - count
        if len([one for one in words[-count:] if not _NUMERIC.fullmatch(one)]) < _LEAST:
            continue
        if start <= _NAME or count >= min(_SURE, len(words)):
            yield _Run(example, len(words) - count, start, count)


def _signal(run: _Run, line: str, place: int, text: str, matrix: Matrix) -> Signal:
    row = run.example.row
    first, last = _span(run, line)
    return Signal(
        signature=row["id"],
        rules=tuple(row["rules"]),
        line=line.strip()[:200],
        position=place + last,
        source=matrix.table("signatures")["sources"][row["source"]],
        said=_said(run, line[first:last]),
        printed_by=row.get("printed_by", {}),
        asked_by=callers(text, place),
        raised_in=raising(text, place),
        confirmed=tuple(row.get("confirmed", ())),
    )


def _said(run: _Run, part: str) -> dict[str, str]:
    """Return what the part itself states: the example's words around it only let the row fit."""
    example = run.example
    before = example.text[: example.spans[run.start][0]]
    after = example.text[example.spans[run.start + run.length - 1][1] :]
    found = _compiled(loosened(example.row["pattern"])).search(before + part + after)
    begin, end = len(before), len(before) + len(part)
    return {
        name: said
        for name, said in (found.groupdict() if found else {}).items()
        if said and found and begin <= found.start(name) and found.end(name) <= end
    }


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, _FLAGS)


@lru_cache(maxsize=4)
def _index(matrix: Matrix) -> dict[tuple[str, ...], list[tuple[_Example, int]]]:
    """Return each run of words in the examples -> the example and where the run ends there."""
    index: dict[tuple[str, ...], list[tuple[_Example, int]]] = {}
    for row in matrix.table("signatures")["rows"]:
        for text in row["examples"]:
            line = text.strip().rpartition("\n")[2]
            example = _Example(row, line, *_words(line))
            for end in range(_LEAST, len(example.words) + 1):
                run = example.words[end - _LEAST : end]
                index.setdefault(run, []).append((example, end))
    return index


def _words(line: str) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
    """Return the words of a line, with any number for each of its numbers, and where they stand."""
    found = list(_WORD.finditer(line))
    words = tuple(_NUMBER.sub("0", one[0].lower()) for one in found)
    return words, tuple(one.span() for one in found)
