"""What ``qdoctor select`` shares with ``select_backend``: the answers about one interpreter.

Where the command is about the interpreter that runs it, as it is, both take the decision that
``QDOCTOR_SELECTION`` carries, else the one that is kept. The command that makes a decision anew, to
see it (``--refresh``) or to carry it (``--export``), is not bound by the one that is carried: what
somebody types comes before what the environment says.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from qdoctor.choosing import answering, exported
from qdoctor.choosing import key as keys
from qdoctor.choosing.exported import VARIABLE
from qdoctor.choosing.request import Request
from qdoctor.facts import find_target
from qdoctor.model import Selection, from_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdoctor.model import Asked
    from qdoctor.question import Question

KEPT = "kept from an earlier measurement of this very machine; --refresh measures anew"
_CARRIED = (
    "carried, not measured here: {} decides, here and in Python; --refresh or --export measures"
)
_PASSED_BY = "{} is not used: {}"
_OF_ANOTHER = "this is not about the interpreter that runs qdoctor, as it is"


def request_of(question: Question, asked: Asked, environ: Mapping[str, str]) -> Request | None:
    """Ask as ``select_backend`` does, where it is about the running interpreter as it is."""
    if question.facts_file or question.gpu or question.driver or question.probe != "full":
        return None
    python = Path(find_target(question.python, environ).python or "")
    here = Path(sys.executable)
    if python.parent != here.parent or python.resolve() != here.resolve():
        return None
    return Request(
        asked.objective,
        max_error=asked.max_error,
        shapes=asked.shapes,
        device=asked.device,
        training=asked.training,
        allow=asked.allow,
        deny=asked.deny,
        measure=asked.measure,
        budget=asked.budget_seconds,
        max_slowdown=asked.max_slowdown,
    )


def known(
    request: Request, environ: Mapping[str, str], *, refresh: bool, export: bool
) -> Selection | None:
    """Return what is known already, with a note that says whence; None where nothing is.

    Raises ``BadInput`` for a carried decision that cannot be read or is for another machine, and
    for a GPU that is not there.
    """
    if environ.get(VARIABLE) and not (refresh or export):
        carried = exported.carried(request, environ)
        if carried is not None:
            return _noted(carried.body, _CARRIED.format(_variable(environ)))
    if refresh:
        return None
    key = keys.key_of(request.text, request.device, environ)
    answering.refuse_missing(request, key)
    kept = answering.kept(request, key, environ)
    return None if kept is None else _noted(kept.body, KEPT)


def passed_by(
    request: Request | None, environ: Mapping[str, str], *, refresh: bool, export: bool
) -> list[str]:
    """Say that a carried decision is there which this answer does not go by, and why."""
    why = (
        (request is None and _OF_ANOTHER)
        or (refresh and "--refresh measures anew")
        or (export and "--export makes a decision to be carried")
    )
    return [_PASSED_BY.format(_variable(environ), why)] if environ.get(VARIABLE) and why else []


def to_carry(selection: Selection) -> Selection:
    """Return a selection without what was noted about this run of the command alone."""
    notes = [note for note in selection.notes if note != KEPT and VARIABLE not in note]
    return msgspec.structs.replace(selection, notes=notes)


def _noted(body: bytes, note: str) -> Selection:
    selection = from_json(body, Selection, "the known selection")
    return msgspec.structs.replace(selection, notes=[*selection.notes, note])


def _variable(environ: Mapping[str, str]) -> str:
    return f"{VARIABLE} ({environ[VARIABLE]})"
