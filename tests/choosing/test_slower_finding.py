"""A backend that is asked for and slower than half is warned of; nobody else is told."""

from __future__ import annotations

import msgspec

from qdoctor.choosing.objectives import SLOWER
from qdoctor.choosing.slower_finding import with_slow
from qdoctor.model import Finding
from tests.choosing.conftest import choose, measured

TIMES = {"half": 1.0, "bnb-int8": 2.0, "qdoctor-switchback": 0.7}
DECIDED = choose("latency", measured(TIMES))
BY_PROBE = Finding(SLOWER, "note", "bnb-int8 takes 1.5 times as long as half on cuda:0 (...)")
OTHER = Finding("no-c-compiler", "warning", "there is none")


def test_what_is_asked_for_and_slow_is_a_warning_with_what_to_use() -> None:
    found = with_slow([OTHER], DECIDED, ["bnb-int8"])
    assert found[0] == OTHER
    warning = found[1]
    assert (warning.rule, warning.severity) == (SLOWER, "warning")
    assert warning.title == (
        "bnb-int8 takes 2.0 times as long as half on a GPU: it saves memory, not time"
    )
    assert "bnb-int8 took 2 ms, half 1 ms" in warning.because[0].text
    assert [fix.backend for fix in warning.fixes] == ["qdoctor-switchback"]


def test_it_takes_the_place_of_what_the_probe_said() -> None:
    found = with_slow([BY_PROBE, OTHER], DECIDED, ["bnb-int8"])
    assert [one.severity for one in found if one.rule == SLOWER] == ["warning"]


def test_what_is_not_asked_for_not_slow_or_not_measured_changes_nothing() -> None:
    for asked in ([], ["qdoctor-switchback"], ["half"], ["bnb-switchback"]):
        assert with_slow([BY_PROBE, OTHER], DECIDED, asked) == [BY_PROBE, OTHER]


def test_where_nothing_else_is_selected_half_is_offered() -> None:
    alone = msgspec.structs.replace(DECIDED, selected="bnb-int8")
    warning = with_slow([], alone, ["bnb-int8"])[0]
    assert [fix.backend for fix in warning.fixes] == ["half"]
