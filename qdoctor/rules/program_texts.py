"""What packages say where the environment is well: ``matrix/tables/program_texts.json``.

Asked last, for texts that no signature knows: a warning after which its package goes on, and an
exception about what the program passes. A warning says nothing beside an exception that is not
known: then the text as a whole is not known. What is put together at run time of few fixed words
(shapes) is known by its course, behind its exception's name.
"""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from qdoctor.rules.case import Signal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.matrix import Matrix

_BEGINNING = 5
"""Words by which a text is looked up; each has at least so many, its exception's name counted."""
_ENOUGH = 10
"""Words after which a text is nobody else's: pasted lines are cut."""
_WORD = re.compile(r"[a-z0-9_]+")
_EXCEPTION = re.compile(r"^(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception)\b", re.MULTILINE)
_RAISED = re.compile(r"\b([A-Z]\w*(?:Error|Exception)): (\S[^\n]*)")
_STAR = "*"
_HOLE = r"(?: \w+){0,12}?"
"""What differs in a text: a name, a shape of several numbers, a short list."""
RULES = {
    "refusals": ("program-refusal", "not-environment"),
    "notices": ("program-notice", "harmless-warning"),
}
"""Kind of text -> what the signature is called, and the rule that answers."""


def known_texts(text: str, matrix: Matrix) -> tuple[Signal, ...]:
    """Return the texts of packages in plain lines: the first refusal, else the first notice."""
    found = list(_found(text, matrix)) or list(_of_a_shape(text, matrix))
    refused = [signal for kind, signal in found if kind == "refusals"]
    if refused or not _EXCEPTION.search(text):
        return tuple((refused or [signal for _, signal in found])[:1])
    return ()


def _found(text: str, matrix: Matrix) -> list[tuple[str, Signal]]:
    index = _index(matrix)
    words = list(_WORD.finditer(text.lower()))
    spoken = [one[0] for one in words]
    found = []
    for start in range(len(words) - _BEGINNING + 1):
        for kind, package, whole in index.get(tuple(spoken[start : start + _BEGINNING]), ()):
            if tuple(spoken[start : start + len(whole)]) == whole:
                end = words[start + len(whole) - 1].end()
                found.append((kind, _signal(kind, package, text, end)))
    return found


def _of_a_shape(text: str, matrix: Matrix) -> Iterator[tuple[str, Signal]]:
    """Yield the refusals whose course a line has: their fixed words, with anything between."""
    shapes = _shapes(matrix)
    for raised in _RAISED.finditer(text):
        words = _WORD.findall(raised[2].lower())
        spoken = "".join(f" {one}" for one in words)
        names = (raised[1].lower(), _STAR)
        for name, two in itertools.product(names, itertools.pairwise(words)):
            for package, shape in shapes.get((name, *two), ()):
                if _course(shape).match(spoken):
                    yield "refusals", _signal("refusals", package, text, raised.end())


@lru_cache(maxsize=512)
def _course(shape: str) -> re.Pattern[str]:
    """Return what fits a line of this shape; a line without a star ends as the shape does."""
    words = shape.split()[1:]
    parts = [_HOLE if one == _STAR else f" {one}" for one in words]
    if words[-1] == _STAR:
        return re.compile("".join(parts[:-1]) + r"\b")
    return re.compile(
        "".join(parts) + r"(?: \w+){0,12}?$" if _STAR in shape else "".join(parts) + "$"
    )


@lru_cache(maxsize=4)
def _shapes(matrix: Matrix) -> dict[tuple[str, str, str], list[tuple[str, str]]]:
    """Return the exception and the first two words that stand together -> package and shape."""
    index: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for package, row in matrix.table("program_texts")["rows"].items():
        for shape in row.get("shapes", ()):
            name, *words = shape.split()
            pairs = (two for two in itertools.pairwise(words) if _STAR not in two)
            if (first := next(pairs, None)) is not None:
                index.setdefault((name, *first), []).append((package, shape))
    return index


def _signal(kind: str, package: str, text: str, end: int) -> Signal:
    signature, rule = RULES[kind]
    line = text[text.rfind("\n", 0, end) + 1 :].partition("\n")[0].strip()[:200]
    return Signal(signature, (rule,), line, end, f"the files of {package}", {"package": package})


@lru_cache(maxsize=4)
def _index(matrix: Matrix) -> dict[tuple[str, ...], list[tuple[str, str, tuple[str, ...]]]]:
    """Return the beginning of each text -> its kind, its package and its words."""
    index: dict[tuple[str, ...], list[tuple[str, str, tuple[str, ...]]]] = {}
    for package, row in matrix.table("program_texts")["rows"].items():
        for kind in RULES:
            for text in row[kind]:
                words = tuple(text.split()[:_ENOUGH])
                index.setdefault(words[:_BEGINNING], []).append((kind, package, words))
    return index
