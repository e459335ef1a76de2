"""What programs put before each line of another's output: a rank, a container, a time, a number.

torchrun, Ray, compose and log collectors mark every line of what they pass on; forums quote
with ``>``; editors number. A text that spans lines is only seen without these marks.
"""

from __future__ import annotations

import re

_MARK = re.compile(
    r"(?:[ \t]*>)+ ?"  # a quotation
    r"|\[(?:rank|default)\d+\]:[ \t]?"  # torchrun
    r"|\([\w .:]{1,40}?\bpid=\d+(?:, ip=[\d.]+)?\)[ \t]?"  # Ray, vLLM's processes
    r"|[\w.-]{1,60}-\d+[ \t]+\|[ \t]?"  # compose
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?[ \t]"
    r"(?:-[ \t](?:DEBUG|INFO|WARNING|ERROR|CRITICAL)[ \t]-[ \t])?"  # a log
)
_NUMBER = re.compile(r"[ \t]*(\d+)(?:[:.|][ \t]?|[ \t])")


def without_prefixes(lines: list[str]) -> list[str]:
    """Return the lines without what stands before each of them; as they are where one lacks it."""
    told = [line for line in lines if line.strip()]
    if told and all(_MARK.match(line) for line in told):
        return [_MARK.sub("", line, count=1) for line in lines]
    if _are_numbered(told):
        return [_NUMBER.sub("", line, count=1) for line in lines]
    return lines


def _are_numbered(told: list[str]) -> bool:
    """Say whether lines begin with numbers that count them."""
    found = [_NUMBER.match(line) for line in told]
    numbers = [int(one[1][:9]) for one in found if one]
    return (
        len(told) > 1
        and len(numbers) == len(told)
        and numbers == list(range(numbers[0], numbers[0] + len(told)))
    )
