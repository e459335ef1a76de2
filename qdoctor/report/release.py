"""What the matrix knows of a release, for people: one fact a line, evidence below it on request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdoctor.release_question import HasAnswer
    from qdoctor.report.paper import Paper, Part

_SHOWN_ITEMS = 12
_SHOWN_PLACES = 6
_DIGEST = 12
_LABEL = 24
_ANSWER = 9
_ANSWERS = {"yes": "green", "no": "red", "unknown": "yellow"}


def release(
    paper: Paper, known: Mapping[str, Any], matrix_version: str, *, with_evidence: bool
) -> None:
    """Write every fact of a release, sorted by its key; long lists are cut, and said to be."""
    named = f"{known['package']} {known['version'] or ''}".strip()
    paper.line((named, "bold cyan"), (f" (matrix {matrix_version})", "dim"))
    for key, value in sorted(known["facts"].items()):
        for number, line in enumerate(_lines(value)):
            paper.row([(key if number == 0 else "", "bold", _LABEL)], (line, ""))
        if with_evidence:
            places(paper, known["evidence"].get(key, ()))
    if not known["facts"]:
        paper.line(("unknown", "yellow"), indent=2)


def has(  # noqa: PLR0913 - an answer has these parts
    paper: Paper,
    answer: HasAnswer,
    package: str,
    name: str,
    spans: Sequence[tuple[str, str, str]] = (),
    *,
    with_evidence: bool,
) -> None:
    """Write whether a release has a name; ``spans`` say it of all releases that are known."""
    subject = f"{package} {answer.version or ''}".strip()
    told: Part = (f"{name} in {subject}", "")
    paper.row([(answer.answer, _ANSWERS[answer.answer], _ANSWER)], told, indent=0)
    for first, last, each in spans:
        span = first if first == last else f"{first} to {last}"
        paper.row([(each, _ANSWERS[each], _ANSWER)], (span, ""))
    if with_evidence:
        places(paper, answer.evidence)


def places(paper: Paper, items: Sequence[Mapping[str, Any]]) -> None:
    """Write where something was read: file, digest, member, line and symbol, strength."""
    for item in items[:_SHOWN_PLACES]:
        paper.row([(f"[{item['strength']}]", "dim", 13)], (_place(item), "dim"), indent=4)
    if (more := len(items) - _SHOWN_PLACES) > 0:
        paper.line((f"and {more} more places: --format json names all", "dim"), indent=17)


def _place(item: Mapping[str, Any]) -> str:
    if "wheel" not in item:
        return str(item.get("source", ""))
    digest = f"(sha256 {str(item.get('sha256', ''))[:_DIGEST]}…)"
    line = f":{item['line']}" if item.get("line") else ""
    symbol = f"({item['symbol']})" if item.get("symbol") else ""
    member = f"{item.get('member', '')}{line}"
    return " ".join(part for part in (str(item["wheel"]), digest, member, symbol) if part)


def _lines(value: object) -> list[str]:
    """Return a fact's value as one or more lines of text."""
    if isinstance(value, list):
        return _of_list(value)
    if isinstance(value, dict):
        return [f"{key}: {_flat(one)}" for key, one in value.items()] or ["none"]
    return [_flat(value)]


def _of_list(value: list[Any]) -> list[str]:
    if not value:
        return ["none"]
    if any(isinstance(one, dict) for one in value):
        return [_flat(one) for one in value]
    more = len(value) - _SHOWN_ITEMS
    shown = ", ".join(map(_flat, value[:_SHOWN_ITEMS]))
    return [f"{shown}, … and {more} more: --format json has all" if more > 0 else shown]


def _flat(value: object) -> str:
    """Return a value on one line."""
    if isinstance(value, str):
        return value or "none"
    if isinstance(value, list):
        return " ".join(map(_flat, value)) or "none"
    if isinstance(value, dict):
        said = [f"{key} {_flat(one)}" for key, one in value.items() if one not in (None, [])]
        return ", ".join(said)
    return msgspec.json.encode(value).decode()
