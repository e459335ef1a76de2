"""How ``qdoctor select`` ends: with the backend that was required, and with an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor import exit_code
from qdoctor.choosing.measured import HALF
from qdoctor.choosing.request import in_question
from qdoctor.choosing.required import ADAPTERS, taken
from qdoctor.choosing.unmeasured import untrained
from qdoctor.matrix import shipped

if TYPE_CHECKING:
    from qdoctor.model import Selection


def required(selection: Selection, name: str) -> Selection:
    """Take the required backend where it works, though another would be chosen; else none."""
    if why := untrained(selection.asked, name, shipped()):
        reason = f"{name} is required for training, but {why}; {ADAPTERS}"
        return msgspec.structs.replace(selection, selected=None, reason=reason)
    own = next(one for one in selection.candidates if one.backend == name)
    if own.usable != "yes":
        doubt = "is not known to work" if own.usable == "unknown" else "cannot be used"
        reason = f"{name} is required, and {doubt} here: {own.reason}"
        return msgspec.structs.replace(selection, selected=None, reason=reason)
    return taken(selection, own)


def ending(selection: Selection, require: str | None) -> int:
    """Return the exit code.

    0 answered, also with none where nothing works; 1 what was demanded cannot be had: the required
    backend, or anything at all once half is denied; 3 that is not known.
    """
    judged = {
        one.backend: one.usable
        for one in selection.candidates
        if require is None or one.backend == require
        if in_question(one.backend, selection.asked.allow, selection.asked.deny)
    }
    if require is not None and judged[require] == "no":
        return exit_code.FINDINGS
    if require is not None and untrained(selection.asked, require, shipped()):
        return exit_code.FINDINGS
    if selection.selected is not None:
        return exit_code.NOTHING_FOUND
    if "unknown" in judged.values():
        return exit_code.COULD_NOT_TELL
    demanded = HALF in (selection.asked.deny or ())
    return exit_code.FINDINGS if demanded else exit_code.NOTHING_FOUND
