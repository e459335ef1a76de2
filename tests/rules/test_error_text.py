"""Whatever is pasted becomes plain lines of bounded length and number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdoctor.matrix import shipped
from qdoctor.rules.error_text import readable
from qdoctor.rules.signatures import recognize

FAILURE = "ModuleNotFoundError: No module named 'triton.ops'"
CUES = ("triton", "CUDA")


def found(text: str) -> list[str]:
    return [signal.signature for signal in recognize(text, shipped())]


@pytest.mark.parametrize(
    "text",
    [
        f"\x1b[31;1m{FAILURE}\x1b[0m",
        f"\x1b]0;title\x07{FAILURE}",
        f"\x1b]8;;https://index.example\x1b\\{FAILURE}\x1b]8;;\x1b\\",
        f"  10%|#  | 1/10\r 20%|## | 2/10\r{FAILURE}\r\n",
        f"\ufeff{FAILURE}",
        f"前面的说明文字 {FAILURE} 。如何解决",
        FAILURE.replace(" '", " \u2018").replace("'", "\u2019").replace(" ", "\u00a0"),
    ],
)
def test_what_terminals_and_people_add_does_not_hide_a_failure(text: str) -> None:
    assert found(text) == ["triton-ops-missing"]


def test_a_traceback_inside_a_json_string_is_read() -> None:
    frames = r"  File \"/x/y.py\", line 1, in f\n" * 30
    log = f'{{"level": "error", "text": "Traceback:\\n{frames}{FAILURE}\\n"}}'
    lines = readable(log, CUES).split("\n")
    assert FAILURE in lines


def test_nothing_of_a_short_text_is_lost() -> None:
    assert readable("one\ntwo\n\tthree", CUES) == "one\ntwo\n\tthree"


def test_what_could_move_a_cursor_or_turn_text_around_is_taken_out() -> None:
    text = readable("a\x1b[2Jb\x07c\x08d\u202ee\x9b", CUES)
    assert all(c.isprintable() for c in text)


def test_the_first_failure_of_a_huge_log_is_kept_whatever_follows() -> None:
    log = "x\n" * 200_000 + FAILURE + "\n" + "CUDA is fine\n" * 200_000
    assert FAILURE in readable(log, CUES)


def test_lines_that_differ_in_their_numbers_only_count_once() -> None:
    log = (
        "".join(f"CUDA step {number}\n" for number in range(100_000))
        + FAILURE
        + "\n"
        + "x\n" * 99_999
    )
    assert FAILURE in readable(log, CUES)


def test_a_line_of_megabytes_is_broken() -> None:
    lines = readable("triton deepcopy " * 100_000, CUES).split("\n")
    assert max(map(len, lines)) <= 4096


@given(st.text(max_size=400), st.integers(min_value=1, max_value=4000))
def test_any_text_becomes_bounded_plain_lines(piece: str, times: int) -> None:
    text = readable(piece * times, CUES)
    assert len(text) < 400_000
    assert all(c.isprintable() or c in "\n\t " or not c.isascii() for c in text)
