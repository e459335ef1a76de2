"""Warnings about how a selection came about, each said once a process."""

from __future__ import annotations

import warnings


class SelectionWarning(UserWarning):
    """A selection is right, but was not had as wished: no cache, a cache not believed, no measure.

    Turn it off as any warning: ``warnings.filterwarnings("ignore", category=SelectionWarning)``.
    """


_said: set[str] = set()


def say_once(text: str, level: int = 2) -> None:
    """Warn, unless this process has said the same before, whatever the filters let through."""
    if text not in _said:
        _said.add(text)
        warnings.warn(text, SelectionWarning, stacklevel=level + 1)


def forget() -> None:
    """Let everything be said once more."""
    _said.clear()
