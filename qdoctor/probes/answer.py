"""What a child left in its control folder, read as from a stranger: any file may be anything."""

from __future__ import annotations

import contextlib
import math
import os
import stat
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST = 1 << 20  # bytes of one answer
_LONGEST = 1200  # characters of one text
_MOST = 64  # texts of one list


class Outcome(msgspec.Struct, frozen=True):
    """One outcome as the harness writes it; a crash or a timeout only we can see."""

    outcome: Literal["passed", "wrong", "failed", "skipped"]
    variant: str | None = None
    detail: str = ""
    code: str | None = None
    numbers: dict[str, float] = {}
    path_taken: str | None = None
    device: str | None = None
    ran: bool = True
    evidence: list[str] = []


class _Answer(msgspec.Struct, frozen=True):
    outcomes: list[Outcome]


class Answer(msgspec.Struct, frozen=True):
    """``outcomes`` None: there is none, or ``garbage`` says why it cannot be read."""

    outcomes: list[Outcome] | None = None
    garbage: str | None = None


def read(path: Path) -> Answer:
    """Read result.json or partial.json."""
    try:
        data = read_bytes(path, _LARGEST)
    except FileNotFoundError:
        return Answer()
    except (OSError, ValueError) as error:
        return Answer(garbage=f"{path.name}: {error}")
    try:
        outcomes = msgspec.json.decode(data, type=_Answer).outcomes
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Answer(garbage=f"{path.name}: {error}")
    if any(not math.isfinite(value) for one in outcomes for value in one.numbers.values()):
        return Answer(garbage=f"{path.name}: a number is not finite")
    return Answer(outcomes=[_tidy(one) for one in outcomes])


def phase(folder: Path) -> str:
    """Return what the child said it was doing, ``""`` if it did not say."""
    with contextlib.suppress(OSError, ValueError):
        return printable(read_bytes(folder / "phase", 4096).decode(errors="replace"))[:200]
    return ""


def printable(text: str) -> str:
    """One line without control characters: it may end in a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def read_bytes(path: Path, largest: int) -> bytes:
    """Read a regular file of at most ``largest`` bytes. Raises ``OSError`` or ``ValueError``."""
    # Not following a link and not waiting for a writer: it may be a link, or a FIFO.
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a regular file")
        data = b""
        while len(data) <= largest and (chunk := os.read(descriptor, largest + 1 - len(data))):
            data += chunk
    finally:
        os.close(descriptor)
    if len(data) > largest:
        raise ValueError(f"larger than {largest} bytes")
    return data


def _tidy(one: Outcome) -> Outcome:
    return msgspec.structs.replace(
        one,
        detail=printable(one.detail)[:_LONGEST],
        evidence=[printable(text)[:_LONGEST] for text in one.evidence[:_MOST]],
    )
