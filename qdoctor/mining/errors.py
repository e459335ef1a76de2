"""The one way in which reading a release fails."""

from __future__ import annotations


class UnreadableRelease(Exception):  # noqa: N818 - it names what was read, not a failure of ours
    """An index or a wheel that cannot be reached, is cut short, or lies: says which and why."""
