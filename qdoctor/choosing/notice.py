"""Warnings about how a selection came about, each said once a process."""

from __future__ import annotations

import sys


class SelectionWarning(UserWarning):
    """A selection is right, but was not had as wished: no cache, a cache not believed, no measure.

    Turn it off as any warning: ``warnings.filterwarnings("ignore", category=SelectionWarning)``.
    """


_said: set[str] = set()


def say_once(text: str) -> None:
    """Warn, unless this process has said the same before, whatever the filters let through.

    The warning points at the line outside of qdoctor that asked.
    """
    if text in _said:
        return
    _said.add(text)
    warn(text, SelectionWarning)


def warn(text: str, category: type[Warning]) -> None:
    """Warn at the line outside of qdoctor that asked."""
    import warnings  # noqa: PLC0415 - only where there is something to say

    level, frame = 2, sys._getframe(1)  # noqa: SLF001 - as the warnings module itself does
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("qdoctor."):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)


def forget() -> None:
    """Let everything be said once more."""
    _said.clear()
