"""The exit code of ``qdoctor select``, and the backend that was required."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qdoctor.choosing.ending import ending, required
from qdoctor.model import Asked, Candidate, Selection

if TYPE_CHECKING:
    from qdoctor.model import YesNo


def selection(selected: str | None, asked: Asked | None = None, **usable: YesNo) -> Selection:
    found = [
        Candidate(name.replace("_", "-"), answer, f"why {answer}", lost="it lost")
        for name, answer in usable.items()
    ]
    return Selection(asked or Asked(), selected, "because", found)


WITHOUT_HALF = Asked(deny=["half"])
NF4_ALONE = Asked(allow=["bnb-nf4"], deny=["half"])
TRAINING = Asked(training=True)


@pytest.mark.parametrize(
    ("found", "require", "code"),
    [
        (selection("half", half="yes", bnb_nf4="unknown"), None, 0),
        (selection(None, half="no", bnb_nf4="no"), None, 0),
        (selection(None, half="no", bnb_nf4="unknown"), None, 3),
        (selection("half", half="yes", bnb_nf4="yes"), "bnb-nf4", 0),
        (selection("half", half="yes", bnb_nf4="no"), "bnb-nf4", 1),
        (selection("half", half="yes", bnb_nf4="unknown"), "bnb-nf4", 3),
        (selection("half", TRAINING, half="yes", bnb_nf4="yes"), "bnb-nf4", 1),
        (selection("half", TRAINING, half="yes", bnb_nf4="unknown"), "bnb-nf4", 1),
        (selection("half", TRAINING, half="yes", bnb_int8="yes"), "bnb-int8", 0),
        # half was taken away by who asks, so an answer is demanded of the others
        (selection(None, WITHOUT_HALF, half="yes", bnb_nf4="no"), None, 1),
        (selection(None, WITHOUT_HALF, half="yes", bnb_nf4="yes"), None, 1),  # too inexact, say
        (selection(None, WITHOUT_HALF, half="yes", bnb_nf4="unknown"), None, 3),
        (selection("bnb-nf4", WITHOUT_HALF, half="yes", bnb_nf4="yes"), None, 0),
        # what is not in question leaves nothing open
        (selection(None, NF4_ALONE, half="unknown", bnb_nf4="no", bnb_fp4="unknown"), None, 1),
        (selection(None, NF4_ALONE, half="no", bnb_nf4="unknown", bnb_fp4="no"), None, 3),
    ],
)
def test_exit_codes(found: Selection, require: str | None, code: int) -> None:
    taken = required(found, require) if require else found
    assert ending(taken, require) == code


def test_what_is_required_is_taken_with_what_would_be_chosen_beside_it() -> None:
    taken = required(selection("half", half="yes", bnb_nf4="yes"), "bnb-nf4")
    assert taken.selected == "bnb-nf4"
    assert (
        taken.reason
        == "bnb-nf4 is required, and works here; by itself half would be selected: it lost"
    )
    frozen = required(selection("half", TRAINING, half="yes", bnb_nf4="yes"), "bnb-nf4")
    assert (frozen.selected, "but it cannot train its weights" in frozen.reason) == (None, True)
    broken = required(selection("half", half="yes", bnb_nf4="no"), "bnb-nf4")
    assert (broken.selected, "cannot be used here: why no" in broken.reason) == (None, True)
    unknown = required(selection("half", half="yes", bnb_nf4="unknown"), "bnb-nf4")
    assert (unknown.selected, "is not known to work here" in unknown.reason) == (None, True)
