"""What people paste, made fit for patterns: plain lines of bounded length, of a bounded number.

A log may have any size, may hold colours, progress bars, JSON-escaped tracebacks and lines of
megabytes. A short text is kept whole. Of a long one only what lies around the table's ``cues`` is
kept, from its beginning on (the first failure counts), and its end.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qdoctor.rules.line_prefixes import without_prefixes
from qdoctor.rules.quoting import unescaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_WHOLE = 256 * 1024
"""Characters up to which a text is kept whole, and beyond which nothing more is kept."""
_END = 64 * 1024
_AROUND = 2048
"""Characters kept on each side of a cue: some patterns span a traceback's last calls."""
_LINE = 4096
"""Characters of one line: patterns that search along a line must not meet one of megabytes."""
_HITS = 5_000
"""Places of one cue that are looked at: a log that says nothing else must still end in time."""

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor movements (ECMA-48, 5.4)
    r"|\x1b[\]PX^_][^\x07\x1b\n]{0,4096}(?:\x07|\x1b\\)?"  # titles and links
    r"|\x1b."
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_BREAKS = re.compile(r"\r\n?|\x0b|\x0c|\x85|\u2028|\u2029")
_DIGITS = re.compile(r"[0-9a-f]+")
_TYPESET = str.maketrans("\u2018\u2019\u201a\u201c\u201d\u201e\u00a0\uff1a", "'''\"\"\" :")
"""What word processors and web pages make of a program's quotes, spaces and colons."""
_BARE = re.compile(
    r"(?<![\w.])((?:\w+\.)*)(?:\*\*)?(init|new|call)(?:\*\*)?(?=\(\) (?:got|missing|takes) )"
)
"""Python's ``__init__`` where a web page took the underscores for bold type, as it stands there."""
_DIGIT_BYTES = b"0123456789"


def readable(text: str, cues: Sequence[str]) -> str:
    """Return what of ``text`` can hold a known text, as plain lines; at most some 300 KB."""
    return _plain(text if len(text) <= _WHOLE else "\n".join(_excerpts(text, cues)))


def _excerpts(text: str, cues: Iterable[str]) -> Iterator[str]:
    """Yield what lies around the cues, first things first, and then the end of the text."""
    left = _WHOLE - _END
    until = 0
    for place in _places(text, cues):
        if place < until:
            continue
        start, end = max(until, place - _AROUND), place + _AROUND
        if left <= 0 or end >= len(text) - _END:
            break
        yield text[start:end]
        left -= end - start
        until = end
    yield text[max(until, len(text) - _END) :]


def _places(text: str, cues: Iterable[str]) -> list[int]:
    """Where a cue stands; of lines that differ in their numbers only, the first."""
    seen: set[str] = set()
    places = []
    for place in sorted(place for cue in _present(text, cues) for place in _found(text, cue)):
        start = text.rfind("\n", max(0, place - 256), place) + 1 or max(0, place - 256)
        line = _DIGITS.sub("0", text[start : place + 64])
        if line not in seen:
            seen.add(line)
            places.append(place)
    return places


def _present(text: str, cues: Iterable[str]) -> list[str]:
    """Return the cues that may stand in the text: most logs repeat few lines with other numbers."""
    lines = _without_digits(text).replace(b"\r", b"\n").split(b"\n")  # a progress bar's, too
    kinds = b"\n".join(set(lines))
    return [cue for cue in cues if _without_digits(cue) in kinds]


def _without_digits(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass").translate(None, _DIGIT_BYTES)


def _found(text: str, cue: str) -> Iterator[int]:
    place = text.find(cue)
    for _ in range(_HITS):
        if place < 0:
            return
        yield place
        place = text.find(cue, place + len(cue))


def _plain(text: str) -> str:
    """Take out what is no text, and break lines that are too long."""
    text = _BREAKS.sub("\n", _ESCAPES.sub("", text)).translate(_TYPESET)
    text = _BARE.sub(r"\1__\2__", unescaped(text))
    lines = without_prefixes(_CONTROL.sub(" ", text).split("\n"))
    return "\n".join(piece for line in lines for piece in _pieces(line))


def _pieces(line: str) -> Iterator[str]:
    if len(line) > _LINE // 8 and r"\n" in line:  # a traceback inside a JSON string
        for part in line.split(r"\n"):
            yield from _cut(part)
    else:
        yield from _cut(line)


def _cut(line: str) -> Iterator[str]:
    for start in range(0, max(len(line), 1), _LINE):
        yield line[start : start + _LINE]
