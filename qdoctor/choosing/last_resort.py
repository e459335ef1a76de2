"""Half, where nothing could be shown to work, and nothing speaks against half itself. Pure.

A GPU that is full, or that another process has to itself, lets no probe run: whether half works is
then not known, and neither is that it does not. A program that asked for a backend goes on without
quantization, is told why, and asks again later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor.choosing.measured import HALF

if TYPE_CHECKING:
    from qdoctor.model import Selection


def or_half(selection: Selection) -> Selection:
    """Return the selection; with half selected where it has none and half is only unknown."""
    half = next((one for one in selection.candidates if one.backend == HALF), None)
    denied = HALF in (selection.asked.deny or ())
    if selection.selected is not None or half is None or half.usable != "unknown" or denied:
        return selection
    return msgspec.structs.replace(
        selection,
        selected=HALF,
        reason=(
            "half is taken, as it quantizes nothing: whether it works could not be seen "
            f"({half.reason})"
        ),
        candidates=[
            msgspec.structs.replace(one, lost=None) if one.backend == HALF else one
            for one in selection.candidates
        ],
    )
