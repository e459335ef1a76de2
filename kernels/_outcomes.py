"""Outcomes of a kernel as plain dicts, and what an exception means as an outcome.

Python 3.8 syntax, standard library only: this runs inside the examined interpreter.
"""

# ruff: noqa: ANN401 - fields of an outcome are any JSON value

from __future__ import annotations

import math
import traceback
from typing import Any, Dict, List, Optional

Outcome = Dict[str, Any]

_LONGEST = 1200
"""Characters of one text that are kept: compilers answer with whole source files."""


class Skipped(Exception):  # noqa: N818 - it names a state of the machine, not a mistake
    """The kernel cannot be examined here; ``code`` says why: no-gpu, not-installed, not-shipped."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Refused(Exception):  # noqa: N818 - an answer of the examined library
    """The examined library said no; ``code`` is the machine-readable reason."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def outcome(kind: str, detail: str = "", **fields: Any) -> Outcome:
    """Build one outcome. ``kind`` is passed | wrong | failed | skipped.

    Fields: variant, code, numbers, path_taken, device, ran, evidence. A number that is not finite
    cannot travel as JSON: it moves into the evidence as text.
    """
    made: Outcome = {
        "variant": None,
        "outcome": kind,
        "detail": detail[:_LONGEST],
        "code": None,
        "numbers": {},
        "path_taken": None,
        "device": None,
        "ran": True,
        "evidence": [],
    }
    made.update(fields)
    numbers = {name: float(value) for name, value in made["numbers"].items()}
    made["numbers"] = {name: value for name, value in numbers.items() if math.isfinite(value)}
    lost = ["{} = {}".format(*item) for item in numbers.items() if not math.isfinite(item[1])]
    made["evidence"] = [str(text)[:_LONGEST] for text in [*made["evidence"], *lost]]
    return made


def from_error(error: BaseException, **fields: Any) -> Outcome:
    """Turn what was raised into an outcome; the deepest cause speaks first.

    Running out of memory says nothing about the kernel: that is skipped, as is a missing GPU.
    """
    kind, code = _kind_and_code(error)
    if kind == "skipped":
        fields["ran"] = False
    fields.setdefault("code", code)
    if kind == "failed" and not isinstance(error, Refused):
        fields["evidence"] = [*fields.get("evidence", []), *_where(error)]
    return outcome(kind, text_of(error), **fields)


def text_of(error: BaseException) -> str:
    """``Type: text`` of the root cause, what native code ``said``, then what it was raised as."""
    root = _root(error)
    text = _named(root)
    for said in getattr(error, "said", [])[:1]:
        text += ": " + said
    if root is not error:
        text += " (raised as {})".format(type(error).__name__)
    return text


def _kind_and_code(error: BaseException) -> "tuple[str, str]":
    if isinstance(error, Skipped):
        return "skipped", error.code
    if any(_is_out_of_memory(link) for link in _chain(error)):
        return "skipped", "out-of-memory"
    if isinstance(error, Refused):
        return "failed", error.code
    if isinstance(_root(error), ImportError):
        return "failed", "import-failed"
    return "failed", "failed"


def _is_out_of_memory(error: BaseException) -> bool:
    # torch before 1.13 and Triton raise a bare RuntimeError: only its words tell.
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or (
        isinstance(error, RuntimeError) and "out of memory" in str(error).lower()
    )


def _chain(error: BaseException) -> List[BaseException]:
    links: List[BaseException] = []
    link: Optional[BaseException] = error
    while link is not None and link not in links:
        links.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return links


def _root(error: BaseException) -> BaseException:
    causes = [error]
    while causes[-1].__cause__ is not None and causes[-1].__cause__ not in causes:
        causes.append(causes[-1].__cause__)
    return causes[-1]


def _named(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, (Skipped, Refused)):
        return text  # our own words; the code beside them says the rest
    return "{}: {}".format(type(error).__name__, text) if text else type(error).__name__


def _where(error: BaseException) -> List[str]:
    root = _root(error)
    frames = traceback.extract_tb(root.__traceback__)
    wrapped = [] if root is error else ["raised as ..." + _named(error)[-400:]]
    return wrapped + [
        "{}:{} in {}: {}".format(frame.filename, frame.lineno, frame.name, frame.line)
        for frame in frames[-2:]
    ]
