"""``qdoctor select``: its options as a question, the report with the selection as its answer."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from qdoctor import doctor, exit_code, local_data
from qdoctor.choosing import answering, devices, shapes, working_out
from qdoctor.choosing import key as keys
from qdoctor.choosing.from_scratch import check, examined_and_chosen
from qdoctor.choosing.lacking import to_install
from qdoctor.choosing.request import Request
from qdoctor.choosing.slower import with_slow
from qdoctor.facts import find_target
from qdoctor.model import Asked, BadInput, Selection, from_json, from_plain, to_plain
from qdoctor.question import Question, known_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import IO

    from qdoctor.model import Report

KEPT = "kept from an earlier measurement of this very machine; --refresh measures anew"


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
    """Examine, measure and decide; the report's exit code is that of this question.

    An answer about the running interpreter is shared with ``select_backend``: one that is kept is
    taken, unless ``--refresh`` asks for another, and a new one is kept.
    """
    environ = dict(os.environ)
    request = _request(asked, environ)
    known = None if request is None or asked.refresh else _known(request, environ)
    cached = asked.asked.measure == "cached"
    question = asked.question
    if known is not None or cached:  # no kernel is started
        question = msgspec.structs.replace(question, probe="none")
    if known is not None:
        report = doctor.examine(question, stdin=stdin, progress=progress, environ=environ)
        return _ended(report, asked, msgspec.structs.replace(known, notes=[*known.notes, KEPT]))
    report = examined_and_chosen(
        asked.asked, question, stdin=stdin, progress=progress, environ=environ
    )
    selection = told(report)
    if request is None or cached:
        selection = msgspec.structs.replace(selection, key=portable(report, selection))
    else:
        selection = working_out.keep(selection, request, environ)
    return _ended(report, asked, selection)


def _ended(report: Report, asked: Command, selection: Selection) -> Report:
    findings = with_slow(report.findings, selection, asked.question.need)
    require = asked.require
    if require is not None:
        selection = required(selection, require)
        selection = _with_command(selection, require, report, asked.question)
    failed = report.exit_code == exit_code.OUR_BUG
    return msgspec.structs.replace(
        report,
        selection=selection,
        selected=selection.selected,
        findings=findings,
        exit_code=exit_code.OUR_BUG if failed else ending(selection, require),
    )


def told(report: Report) -> Selection:
    """Return the selection of a report that was chosen from."""
    if report.selection is None:
        raise AssertionError("a report that was chosen from has a selection")
    return report.selection


def carried(report: Report) -> dict[str, Any]:
    """Return the selection of a report as it is carried to other hosts."""
    selection = told(report)
    notes = [note for note in selection.notes if note != KEPT]
    return to_plain(msgspec.structs.replace(selection, notes=notes))


def _request(asked: Command, environ: Mapping[str, str]) -> Request | None:
    """Ask as ``select_backend`` does, where it is about the running interpreter as it is."""
    question = asked.question
    if question.facts_file or question.gpu or question.driver or question.probe != "full":
        return None
    python = Path(find_target(question.python, environ).python or "")
    here = Path(sys.executable)
    if python.parent != here.parent or python.resolve() != here.resolve():
        return None
    what = asked.asked
    return Request(
        what.objective,
        max_error=what.max_error,
        shapes=what.shapes,
        device=what.device,
        training=what.training,
        allow=what.allow,
        deny=what.deny,
        measure=what.measure,
        budget=what.budget_seconds,
    )


def _known(request: Request, environ: Mapping[str, str]) -> Selection | None:
    key = keys.key_of(request.text, request.device, environ)
    answering.refuse_missing(request, key)
    kept = answering.kept(request, key, environ)
    return None if kept is None else from_json(kept.body, Selection, "the kept selection")


def portable(report: Report, selection: Selection) -> dict[str, Any]:
    """Say what a decision holds for, where it is carried to another host (see ``exported``)."""
    facts = report.facts
    packages = facts.packages or {}
    return {
        "qdoctor": selection.tool_version,
        "python": ".".join(((facts.python and facts.python.version) or "").split(".")[:2]),
        "packages": {name: packages.get(name, "") for name in keys.COMPARED},
        "driver": (facts.driver and facts.driver.version) or "",
        "device": selection.device.name if selection.device.sm else devices.processor()[0],
    }


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


def _with_command(selection: Selection, name: str, report: Report, question: Question) -> Selection:
    """Add the command that installs what the required backend lacks."""
    own = next(one for one in selection.candidates if one.backend == name)
    if own.usable != "no":
        return selection
    command = to_install(name, report.facts.packages, question, os.environ)
    reason = f"{selection.reason}; `{command}` mends that" if command else selection.reason
    return msgspec.structs.replace(selection, reason=reason)


def ending(selection: Selection, require: str | None) -> int:
    """0 answered; 1 what is required cannot be used; 3 that, or whether any can, is unknown."""
    judged = {one.backend: one.usable for one in selection.candidates}
    if require is not None and judged[require] == "no":
        return exit_code.FINDINGS
    open_question = "unknown" in ([judged[require]] if require else judged.values())
    if selection.selected is None and open_question:
        return exit_code.COULD_NOT_TELL
    return exit_code.NOTHING_FOUND
