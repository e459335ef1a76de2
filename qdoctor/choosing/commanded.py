"""``qdoctor select``: its options as a question, the report with the selection as its answer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from qdoctor import exit_code, local_data
from qdoctor.choosing import shapes
from qdoctor.choosing.from_scratch import check, examined_and_chosen
from qdoctor.model import Asked, BadInput, from_plain
from qdoctor.question import Question, known_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import IO

    from qdoctor.model import Report, Selection


class Command(msgspec.Struct, frozen=True):
    """What the command line asks: of which machine, what for, and a backend that it must be."""

    question: Question
    asked: Asked
    require: str | None = None
    refresh: bool = False


def command(  # noqa: PLR0913 - the options of one command, by name
    question: Question,
    *,
    objective: str,
    max_error: float | None,
    shape_words: Sequence[str],
    training: bool,
    allow: Sequence[str],
    deny: Sequence[str],
    require: str | None,
    device: str | None,
    measure: str,
    seconds: float,
    refresh: bool,
) -> Command:
    """Read the options. Raises ``BadInput`` for what cannot be meant."""
    plain: dict[str, Any] = {
        "objective": objective,
        "max_error": max_error,
        "training": training,
        "device": device,
        "shapes": shapes.parse(shape_words) if shape_words else None,
        "allow": _names(allow),
        "deny": _names(deny),
        "measure": measure,
        "budget_seconds": seconds,
    }
    asked = from_plain(plain, Asked, "select")
    matrix = local_data.current(os.environ)
    check(asked, matrix)
    if require is not None:
        known_name(require, matrix.table("backends")["rows"], "backend")
        allowed = asked.allow is None or require in {*asked.allow, "half"}
        if not allowed or require in (asked.deny or ()):
            raise BadInput(
                f"--require {require} is ruled out by --allow or --deny: which is meant?"
            )
        question = msgspec.structs.replace(question, need=(*question.need, require))
    if refresh and measure != "auto":
        raise BadInput(
            f"--refresh measures anew, and --measure {measure} does not: which is meant?"
        )
    return Command(question, asked, require, refresh)


def _names(given: Sequence[str]) -> list[str] | None:
    found = [name for text in given for name in text.replace(",", " ").split()]
    return found or None


def answered(asked: Command, stdin: IO[bytes] | None, progress: Callable[[str], None]) -> Report:
    """Examine, measure and decide; the report's exit code is that of this question."""
    report = examined_and_chosen(
        asked.asked, asked.question, stdin=stdin, progress=progress, environ=os.environ
    )
    selection = report.selection
    if selection is None:
        raise AssertionError("a report that was chosen from has a selection")
    if asked.require is not None:
        selection = required(selection, asked.require)
    report = msgspec.structs.replace(report, selection=selection, selected=selection.selected)
    if report.exit_code == exit_code.OUR_BUG:
        return report
    return msgspec.structs.replace(report, exit_code=ending(selection, asked.require))


def required(selection: Selection, name: str) -> Selection:
    """Take the required backend where it works, though another would be chosen; else none."""
    own = next(one for one in selection.candidates if one.backend == name)
    if own.usable != "yes":
        doubt = "is not known to work" if own.usable == "unknown" else "cannot be used"
        reason = f"{name} is required, and {doubt} here: {own.reason}"
        return msgspec.structs.replace(selection, selected=None, reason=reason)
    by_itself = "" if own.lost is None else f"; {selection.selected} would be chosen: {own.lost}"
    reason = f"{name} is required, and works here{by_itself}"
    return msgspec.structs.replace(selection, selected=name, reason=reason)


def ending(selection: Selection, require: str | None) -> int:
    """0 answered; 1 what is required cannot be used; 3 that, or whether any can, is unknown."""
    judged = {one.backend: one.usable for one in selection.candidates}
    if require is not None and judged[require] == "no":
        return exit_code.FINDINGS
    open_question = "unknown" in ([judged[require]] if require else judged.values())
    if selection.selected is None and open_question:
        return exit_code.COULD_NOT_TELL
    return exit_code.NOTHING_FOUND
