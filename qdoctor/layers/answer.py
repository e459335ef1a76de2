"""What a layer answers: yes, no or unknown, with the reason as a sentence and the evidence."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix
    from qdoctor.model import Because, YesNo

Layer: TypeAlias = Callable[["Machine", "Matrix"], "Answer"]
"""One question about a machine."""


class Answer(msgspec.Struct, frozen=True):
    """One layer's answer. ``rule`` names the problem that a ``no`` is."""

    value: YesNo
    reason: str
    because: tuple[Because, ...] = ()
    rule: str | None = None


def yes(reason: str, *because: Because | None) -> Answer:
    """Answer that the layer fits."""
    return Answer("yes", reason, _given(because))


def no(rule: str | None, reason: str, *because: Because | None) -> Answer:
    """Answer that the layer does not fit; ``rule`` names the problem."""
    return Answer("no", reason, _given(because), rule)


def unknown(reason: str) -> Answer:
    """Answer that it cannot be told, and why."""
    return Answer("unknown", reason)


def together(answers: Iterable[Answer]) -> Answer:
    """Join answers of layers that are all needed: the first no, else unknown, else yes."""
    asked: list[Answer] = []
    open_: Answer | None = None
    for answer in answers:
        if answer.value == "no":
            return answer
        if answer.value == "unknown" and open_ is None:
            open_ = answer
        asked.append(answer)
    if open_ is not None:
        return open_
    reason = "; ".join(dict.fromkeys([answer.reason for answer in asked]))
    return Answer("yes", reason, tuple([one for answer in asked for one in answer.because]))


def _given(because: tuple[Because | None, ...]) -> tuple[Because, ...]:
    if None not in because:  # as most are: nothing has to be built
        return because  # type: ignore[return-value]
    return tuple([one for one in because if one is not None])
