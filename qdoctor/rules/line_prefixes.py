"""What programs put before each line of another's output: a rank, a container, a time, a number.

torchrun, Ray, compose and log collectors mark every line of what they pass on; forums quote
with ``>`` and indent what is code; editors number. A text that spans lines is only seen without
these marks.
"""

from __future__ import annotations

import re

_MARKS = 4
"""Marks that may stand before one line: a collector's of a container's of a rank's."""
_PASSED_ON = (
    r"\[(?:rank|default)\d+\]:[ \t]?"  # torchrun
    r"|\([\w .:]{1,40}?\bpid=\d+(?:, ip=[\d.]+)?\)[ \t]?"  # Ray, vLLM's processes
)
_OF_SOME = re.compile(_PASSED_ON)
"""What only such a program writes: taken off wherever it stands, since others' lines mix in."""
_OF_ALL = re.compile(
    rf"(?:[ \t]*>)+ ?|{_PASSED_ON}"  # a quotation
    r"|[\w.-]{1,60}-\d+[ \t]+\|[ \t]?"  # compose
    r"|\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?[ \t]"
    r"(?:-[ \t](?:DEBUG|INFO|WARNING|ERROR|CRITICAL)[ \t]-[ \t])?"  # a log
)
_INDENT = re.compile(r"[ \t]+")
_NUMBER = re.compile(r"[ \t]*(\d+)(?:[:.|][ \t]?|[ \t])")


def without_prefixes(lines: list[str]) -> list[str]:
    """Return the lines without what stands before each of them; as they are where one lacks it.

    What only a program that passes lines on writes is taken off any line.
    """
    for _ in range(_MARKS):
        told = [line for line in lines if line.strip()]
        if told and all(_OF_ALL.match(line) for line in told):
            lines = [_OF_ALL.sub("", line, count=1) for line in lines]
        elif any(_OF_SOME.match(line) for line in told):
            lines = [line[one.end() :] if (one := _OF_SOME.match(line)) else line for line in lines]
        elif _are_numbered(told):
            lines = [_NUMBER.sub("", line, count=1) for line in lines]
        elif indent := _common_indent(told):
            lines = [line.removeprefix(indent) for line in lines]
        else:
            break
    return lines


def _common_indent(told: list[str]) -> str:
    """Return the blanks with which all lines begin."""
    first = _INDENT.match(told[0]) if told else None
    indent = first[0] if first else ""
    while indent and not all(line.startswith(indent) for line in told):
        indent = indent[:-1]
    return indent


def _are_numbered(told: list[str]) -> bool:
    """Say whether lines begin with numbers that count them."""
    found = [_NUMBER.match(line) for line in told]
    numbers = [int(one[1][:9]) for one in found if one]
    return (
        len(told) > 1
        and len(numbers) == len(told)
        and numbers == list(range(numbers[0], numbers[0] + len(told)))
    )
