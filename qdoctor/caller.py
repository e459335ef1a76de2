"""Whose line in a user's code a warning is about."""

from __future__ import annotations

import sys


def warn(text: str, category: type[Warning]) -> None:
    """Warn at the line outside of qdoctor that asked."""
    import warnings  # noqa: PLC0415 - only where there is something to say

    level, frame = 2, sys._getframe(1)  # noqa: SLF001 - as the warnings module itself does
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("qdoctor."):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)
