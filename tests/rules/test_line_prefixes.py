"""What stands before every line of a text is taken off; before some, only a program's own mark."""

from __future__ import annotations

import pytest

from qdoctor.rules.line_prefixes import without_prefixes

TEXT = ["Traceback (most recent call last):", '  File "x.py", line 1', "", "KeyError: 'a'"]


@pytest.mark.parametrize(
    "mark",
    [
        "> ",
        ">> ",
        "[rank0]: ",
        "[rank12]: ",
        "(RayWorker pid=123, ip=10.0.0.1) ",
        "(EngineCore_0 pid=77) ",
        "vllm-server-1  | ",
        "2024-05-01 12:00:00,123 - ERROR - ",
        "2024-05-01T12:00:00.1234567Z ",
        "[2024-05-01 12:00:00] [rank0]: ",
        "server-1  | 2024-05-01 12:00:00,123 - ERROR - (EngineCore_0 pid=77) ",
        "    ",
        "\t",
        ">     ",
    ],
)
def test_a_mark_before_every_line_is_taken_off(mark: str) -> None:
    assert without_prefixes([f"{mark}{line}" for line in TEXT]) == TEXT


def test_a_rank_is_taken_off_where_other_lines_mix_in() -> None:
    lines = ["I run torchrun:", "[rank0]: Traceback", "[rank0]:   File", "INFO: b", "[rank1]: E"]
    told = ["I run torchrun:", "Traceback", "  File", "INFO: b", "E"]
    assert without_prefixes(lines) == told


@pytest.mark.parametrize("form", ["{}: {}", "{} {}", "{:4} | {}"])
def test_numbers_that_count_the_lines_are_taken_off(form: str) -> None:
    lines = ["RuntimeError: CUDA error", "Compile with it", "to see more"]
    numbered = [form.format(number, line) for number, line in enumerate(lines, 7)]
    assert [one.lstrip("| ") for one in without_prefixes(numbered)] == lines


@pytest.mark.parametrize(
    "lines",
    [
        ["2024-05-01 12:00:00 a", "b"],
        ["> a", "b"],
        ["  a", "b"],
        ["", "b", "  c"],
        ["2 GPUs are there", "2 of them are idle"],
        ["8 GB are free"],
        [""],
        ["RuntimeError: x"],
        ["x" * 3, "9" * 5000 + " x"],
    ],
)
def test_other_lines_stay_as_they_are(lines: list[str]) -> None:
    assert without_prefixes(lines) == lines
