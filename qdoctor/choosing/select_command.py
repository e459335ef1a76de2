"""``qdoctor select``: its options as a question, the report with the selection as its answer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from qdoctor import doctor, exit_code, local_data
from qdoctor.choosing import devices, shared, working_out
from qdoctor.choosing import key as keys
from qdoctor.choosing import shapes as shapes_of
from qdoctor.choosing.ending import ending, required
from qdoctor.choosing.from_scratch import check, examined_and_chosen
from qdoctor.choosing.missing_package import to_install
from qdoctor.choosing.request import in_question
from qdoctor.choosing.slower_finding import with_slow
from qdoctor.model import Asked, BadInput, Selection, from_plain, to_plain
from qdoctor.question import BACKENDS, Question, known_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import IO

    from qdoctor.choosing.request import Request
    from qdoctor.model import Report, Shape


class Command(msgspec.Struct, frozen=True):
    """What the command line asks: of which machine, what for, and a backend that it must be."""

    question: Question
    asked: Asked
    require: str | None = None
    refresh: bool = False
    export: bool = False


def command(  # noqa: PLR0913 - the options of one command, by name
    question: Question,
    *,
    objective: str,
    max_error: float | None,
    max_slowdown: float | None,
    shapes: Sequence[str],
    training: bool,
    allow: Sequence[str],
    deny: Sequence[str],
    require: str | None,
    device: str | None,
    measure: str,
    seconds: float,
    refresh: bool,
    export: bool = False,
) -> Command:
    """Read the options. Raises ``BadInput`` for what cannot be meant."""
    plain: dict[str, Any] = {
        "objective": objective,
        "max_error": max_error,
        "max_slowdown": max_slowdown,
        "training": training,
        "device": device,
        "shapes": _shapes(shapes),
        "allow": _words(allow, "--allow"),
        "deny": _words(deny, "--deny"),
        "measure": measure,
        "budget_seconds": seconds,
    }
    asked = from_plain(plain, Asked, "select")
    matrix = local_data.current(os.environ)
    check(asked, matrix)
    if require is not None:
        known_name(require, matrix.table("backends")["rows"], "backend")
        if not in_question(require, asked.allow, asked.deny):
            raise BadInput(
                f"--require {require} is ruled out by --allow or --deny: which is meant?"
            )
        question = msgspec.structs.replace(question, need=(*question.need, require))
    if refresh and measure != "auto":
        raise BadInput(
            f"--refresh measures anew, and --measure {measure} does not: which is meant?"
        )
    return Command(question, asked, require, refresh, export)


def _shapes(given: Sequence[str]) -> list[Shape] | None:
    words = _words(given, "--shapes")
    stray = next((word for word in words or () if word in BACKENDS), None)
    if stray is not None:
        raise BadInput(f"{stray} is no shape: several backends take an --allow or --deny each")
    return None if words is None else shapes_of.parse(words)


def _words(given: Sequence[str], option: str) -> list[str] | None:
    """Return what an option names, however it is written; None where it is not given.

    An option that is given and names nothing (an empty variable of a shell, mostly) is no wish for
    everything: it raises ``BadInput``.
    """
    found = [word for text in given for word in text.replace(",", " ").split()]
    if given and not found:
        raise BadInput(f"{option} names nothing: is a variable empty that it is made of?")
    return found or None


def answered(asked: Command, stdin: IO[bytes] | None, progress: Callable[[str], None]) -> Report:
    """Examine, measure and decide; the report's exit code is that of this question.

    An answer about the running interpreter is shared with ``select_backend``: one that is carried
    or kept is taken, unless another is asked for (see ``shared``), and a new one is kept.
    """
    environ = dict(os.environ)
    request = shared.request_of(asked.question, asked.asked, environ)
    anew = {"refresh": asked.refresh, "export": asked.export}
    known = None if request is None else shared.known(request, environ, **anew)
    if known is not None:
        question = msgspec.structs.replace(asked.question, probe="none")
        report = doctor.examine(question, stdin=stdin, progress=progress, environ=environ)
        selection = known
    else:
        report = _found(asked, environ, stdin, progress)
        selection = _kept(report, asked, request, environ)
    notes = [*selection.notes, *shared.passed_by(request, environ, **anew)]
    return _ended(report, asked, msgspec.structs.replace(selection, notes=notes))


def _found(
    asked: Command,
    environ: Mapping[str, str],
    stdin: IO[bytes] | None,
    progress: Callable[[str], None],
) -> Report:
    question = asked.question
    if asked.asked.measure == "cached":  # no kernel is started
        question = msgspec.structs.replace(question, probe="none")
    return examined_and_chosen(
        asked.asked, question, stdin=stdin, progress=progress, environ=environ
    )


def _kept(
    report: Report, asked: Command, request: Request | None, environ: Mapping[str, str]
) -> Selection:
    """Keep what was found for ``select_backend`` to take; say what it holds for in any case."""
    selection = told(report)
    if request is None or asked.asked.measure == "cached":
        return msgspec.structs.replace(selection, key=portable(report, selection))
    return working_out.keep(selection, request, environ, report.observations)


def _ended(report: Report, asked: Command, selection: Selection) -> Report:
    findings = with_slow(report.findings, selection, asked.question.need)
    require = asked.require
    if require is not None:
        rule = next(one.rule for one in selection.candidates if one.backend == require)
        findings.sort(key=lambda one: one.rule != rule)  # what decided comes first
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
    return to_plain(shared.to_carry(told(report)))


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


def _with_command(selection: Selection, name: str, report: Report, question: Question) -> Selection:
    """Add the command that installs what the required backend lacks."""
    own = next(one for one in selection.candidates if one.backend == name)
    if own.usable != "no":
        return selection
    command = to_install(name, report.facts.packages, question, os.environ)
    reason = f"{selection.reason}; `{command}` mends that" if command else selection.reason
    return msgspec.structs.replace(selection, reason=reason)
