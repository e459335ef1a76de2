"""Half where nothing else is known; nothing where half is known not to work, or is not wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qdoctor.choosing.last_resort import or_half
from qdoctor.model import Asked, Candidate, Selection

if TYPE_CHECKING:
    from qdoctor.model import YesNo


def selection(
    half: YesNo | None, selected: str | None = None, deny: list[str] | None = None
) -> Selection:
    candidates = [
        Candidate(backend="bnb-int8", usable="unknown", reason="busy", lost="not known"),
        *([Candidate("half", half, "the GPU is busy", lost="not known")] if half else []),
    ]
    return Selection(
        asked=Asked(deny=deny), selected=selected, reason="nothing is left", candidates=candidates
    )


def test_half_is_taken_where_nothing_speaks_against_it() -> None:
    found = or_half(selection("unknown"))
    assert found.selected == "half"
    assert found.reason.startswith("half is taken, as it quantizes nothing")
    assert "(the GPU is busy)" in found.reason
    assert [one.lost for one in found.candidates] == ["not known", None]


@pytest.mark.parametrize(
    "known",
    [
        selection("no"),
        selection(None),
        selection("unknown", deny=["half"]),
        selection("unknown", selected="bnb-int8"),
        selection("yes", selected="half"),
    ],
    ids=["broken", "not judged", "denied", "another is selected", "selected"],
)
def test_every_other_selection_stays(known: Selection) -> None:
    assert or_half(known) == known
