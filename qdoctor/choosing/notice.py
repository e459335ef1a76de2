"""Warnings about how a selection came about, each said once a process."""

from __future__ import annotations

from qdoctor.caller import warn


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


def forget() -> None:
    """Let everything be said once more."""
    _said.clear()
