"""A part of a known text is known, by what it says itself and never by what another would say."""

from __future__ import annotations

from typing import Any

import pytest

import qdoctor
from qdoctor.matrix import shipped
from qdoctor.rules.partial_texts import parts_in

MATRIX = shipped()
ROWS: list[dict[str, Any]] = MATRIX.table("signatures")["rows"]
ENOUGH = 8
LINES = [
    (row["id"], row["rules"][0], line)
    for row in ROWS
    for text in row["examples"]
    if len((line := text.strip().rpartition("\n")[2]).split()) >= ENOUGH
]


def meaning(text: str) -> str | None:
    found = parts_in(text, MATRIX)
    return found[0].rules[0] if found else None


def end_cut(line: str, share: float) -> str:
    words = line.split()
    return " ".join(words[: round(len(words) * share)])


@pytest.mark.parametrize("share", [0.7, 0.8, 0.9])
def test_a_line_that_breaks_off_means_what_the_whole_one_does(share: float) -> None:
    told = [(rule, meaning(end_cut(line, share))) for _, rule, line in LINES]
    assert all(found in {rule, None} for rule, found in told)
    assert sum(found == rule for rule, found in told) >= len(told) * 0.7


def test_a_line_whose_beginning_is_missing_means_what_the_whole_one_does() -> None:
    told = [(rule, meaning(" ".join(line.split()[2:]))) for _, rule, line in LINES]
    assert all(found in {rule, None} for rule, found in told)
    assert sum(found == rule for rule, found in told) >= len(told) * 0.7


def test_no_rule_fails_on_a_part_that_lacks_what_the_whole_states() -> None:
    for _, _, line in LINES:
        found = qdoctor.diagnose({"schema": "qdoctor/facts/1"}, end_cut(line, 0.8)).findings
        assert "qdoctor-rule-failed" not in {one.rule for one in found}, line


def test_what_the_part_states_counts_and_not_what_the_example_states() -> None:
    whole = "GeForce GTX 750 with CUDA capability sm_50 is not compatible with the current"
    assert parts_in(whole, MATRIX)[0].said["sm"] == "50"
    late = "is not compatible with the current PyTorch installation"
    assert "sm" not in parts_in(late, MATRIX)[0].said


@pytest.mark.parametrize(
    "text",
    [
        "AttributeError: 'NoneType' object has no attribute",  # of many meanings
        "RuntimeError: CUDA error: no kernel image is available to the other program",
        "my own words say that nothing here works at all",
        "numbers 1 2 3 4 5 6 7 8 64 128 256",
        "",
    ],
)
def test_is_silent_where_the_line_is_no_part_of_one_text(text: str) -> None:
    assert parts_in(text, MATRIX) == ()


def test_a_part_of_a_notice_says_nothing_beside_an_unknown_exception() -> None:
    notice = "A matching Triton is not available, some optimizations will"
    assert parts_in(notice, MATRIX)[0].rules == ("harmless-warning",)
    assert parts_in(f"{notice}\nWeirdError: something else", MATRIX) == ()


def test_what_packages_say_otherwise_is_hardly_ever_taken_for_a_part() -> None:
    rows = MATRIX.table("program_texts")["rows"].values()
    texts = [text for row in rows for kind in ("refusals", "notices") for text in row[kind]]
    taken = [text for text in texts if meaning(text) not in {None, "not-environment"}]
    assert len(taken) <= len(texts) * 0.01
