"""A backend that is required: it works here, or one clear error says why not and what fixes it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from qdoctor.backends import BackendUnavailable
from qdoctor.choosing.cache_reading import Kept
from qdoctor.choosing.explained import printable
from qdoctor.choosing.unmeasured import untrained
from qdoctor.matrix import shipped
from qdoctor.model import Selection

if TYPE_CHECKING:
    from qdoctor.model import Candidate, Finding

_MOST = 3  # fixes that are named
ADAPTERS = "to train adapters beside it, ask without training"


def required(selection: dict[str, Any], name: str) -> Kept:
    """Return the answer with ``name`` selected. Raises ``BackendUnavailable`` where it fails here.

    It raises, too, where that cannot do the training that was asked for. It is taken though it may
    be slower or less exact than another: ``lost`` still says so.
    """
    whole = msgspec.convert(selection, Selection)
    if why := untrained(whole.asked, name, shipped()):
        raise BackendUnavailable(f"{name} is required for training, but {why}. Fix: {ADAPTERS}")
    own = next((one for one in whole.candidates if one.backend == name), None)
    if own is None or own.usable != "yes":
        reason = own.reason if own else "this selection does not know it"
        raise BackendUnavailable(
            refusal(name, reason, whole.device.name, own.rule if own else None)
        )
    return Kept(name, msgspec.json.encode(taken(whole, own)))


def taken(selection: Selection, own: Candidate) -> Selection:
    """Return the selection with a candidate that works as the one, though another would be."""
    told = f"; by itself {selection.selected} would be selected: {own.lost}" if own.lost else ""
    reason = f"{own.backend} is required, and works here{told}"
    return msgspec.structs.replace(selection, selected=own.backend, reason=reason)


def refusal(name: str, reason: str, device: str | None, rule: str | None) -> str:
    """Say why a required backend cannot be had and what would change that.

    ``rule`` is the one that the reason is of: its fixes are named, for another's (another GPU where
    the release has no such layer on any) would not do.
    """
    where = f" on {device}" if device else " here"
    fixes = _fixes(name, rule)
    told = "; or ".join(fixes) if fixes else f"`qdoctor check --need {name}` says more"
    return printable(f"{name} is required, but cannot be used{where}: {reason}. Fix: {told}")


def _fixes(name: str, rule: str | None) -> list[str]:
    """Name what a check that needs this backend would have changed; nothing where it cannot run."""
    # only where something is wrong:
    from qdoctor.api import check  # noqa: PLC0415
    from qdoctor.choosing.missing_package import to_install  # noqa: PLC0415
    from qdoctor.question import Question  # noqa: PLC0415

    try:
        report = check(need=[name], probe="none")
        packages, here = report.facts.packages, Question(python=sys.executable)
        if command := to_install(name, packages, here, os.environ):
            return [f"`{command}`"]
        findings = report.findings
    except Exception:  # noqa: BLE001 - the reason is known all the same
        return []
    affecting = [one for one in findings if name in one.affects]
    deciding = [text for one in affecting if one.rule == rule for text in _texts(one)]
    texts = deciding or [text for one in affecting for text in _texts(one)]
    return list(dict.fromkeys(texts))[:_MOST]


def _texts(finding: Finding) -> list[str]:
    return [
        f"`{fix.command}` ({fix.why})"
        if fix.command
        else f"{' '.join(filter(None, [fix.action, fix.backend]))}: {fix.why}"
        for fix in finding.fixes
        if fix.action != "none"
    ]
