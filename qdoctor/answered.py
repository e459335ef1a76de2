"""What an observation speaks of, and whether it says anything at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qdoctor.model import Observation

_SILENT = frozenset(
    {
        *("no-answer", "unreadable-answer", "no-control-folder", "interrupted", "budget"),
        *("not-started", "memory-limit", "disk-limit"),
        *("out-of-memory", "gpu-busy", "no-temporary-folder"),
    }
)
"""Codes of the probe engine for a child that never told, or that had to be stopped; and of the
kernels themselves for a GPU that is full or taken, and for a disk that is full: neither says
anything of what they examine."""


def gave_no_answer(seen: Observation) -> bool:
    """Say whether a probe that could run here ended without telling anything about its kernel."""
    return seen.outcome == "timed-out" or seen.code in _SILENT


def speaks_of(seen: Observation, variant: str | None, every: Iterable[Observation]) -> bool:
    """Say whether an observation is about a variant of its probe; None is any variant.

    The end of a child that had several variants left names none: it is about each one that did not
    answer on that device, among ``every`` observation.
    """
    if variant is None or seen.variant == variant:
        return True
    return seen.variant is None and not any(
        (one.probe, one.variant, one.device) == (seen.probe, variant, seen.device) for one in every
    )


def ended_importing(seen: Observation) -> bool:
    """Say whether a probe ended before its kernel, in the import of what it examines."""
    return seen.code == "import-failed" or (
        seen.outcome == "crashed" and " while importing " in (seen.detail or "")
    )


def rule_against(seen: Observation) -> str:
    """Name the rule that reports a failure which the compatibility data did not foretell."""
    return "package-import-fails" if ended_importing(seen) else "probe-contradicts-matrix"
