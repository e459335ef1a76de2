"""A program's output, as it is piped in to be explained."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from qdoctor.byte_order import encoding_of
from qdoctor.model import BadInput

_KEPT = 64 * 1024 * 1024  # bytes of a log, from its beginning; of a longer one also the end
_END = 1024 * 1024


def piped(stdin: IO[bytes] | None) -> str:
    """Read what is piped in: the first failure counts, and the end of a log is its outcome.

    Raises ``BadInput`` where there is nothing to read from.
    """
    if stdin is None:
        raise BadInput("there is no standard input: pipe the program's output in, 2>&1 included")
    end = b""
    try:
        kept = stdin.read(_KEPT)
        while block := stdin.read(_END):
            end = (end + block)[-_END:]
    except OSError as error:
        raise BadInput(f"standard input cannot be read: {error.strerror}") from error
    return (kept + end).decode(encoding_of(kept), errors="replace")


def names_file(text: str) -> bool:
    """Say whether somebody gave a log's path for its text; a pipe that a shell made is one, too."""
    try:
        return "\n" not in text and Path(text).exists() and not Path(text).is_dir()
    except (OSError, ValueError):  # too long for a path, or with a zero byte: a text
        return False
