"""Several devices in few words: ``cuda:0-6`` for seven that have the same thing to say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_CUDA = re.compile(r"cuda:(\d+)")
_FIGURE = re.compile(r"\d+\.\d+")
_ON_CUDA = re.compile(r" on cuda:\d+\b")


def shortly(devices: Iterable[str]) -> str:
    """Write devices: ``cuda:0-2, cuda:5, sm_90``; others than CUDA's as they are."""
    every = list(dict.fromkeys(devices))
    numbers = [int(found[1]) for one in every if (found := _CUDA.fullmatch(one))]
    others = [one for one in every if not _CUDA.fullmatch(one)]
    return ", ".join([*(f"cuda:{text}" for text in ranges(numbers)), *others])


def ranges(numbers: Sequence[int]) -> list[str]:
    """Write numbers as ranges: ``0-2`` and ``5`` for 0, 1, 2, 5."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]


def told_of_any(text: str) -> str:
    """Return what a text says of whichever GPU it names: without its number, and what it measured.

    A text that names no GPU stays as it is: there a figure may be what it is about.
    """
    bare = without_device(text)
    return text if bare == text else _FIGURE.sub("", bare)


def without_device(text: str) -> str:
    """Return a text without the number of the GPU that it is about, to compare it with others."""
    return _ON_CUDA.sub("", text)
