"""How text leaves the process: breaking streams, files replaced whole, colour, progress."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING

from qdoctor.model import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from typing_extensions import Self

_WIDEST = 100
_PATIENCE = 1.0
_LONGEST = 2400  # characters of one message: what it quotes may be a whole file


def in_colour(
    choice: str, stream: IO[str] | None, environ: Mapping[str, str], *, to_file: bool
) -> bool:
    """Decide on colour: by the option, NO_COLOR and FORCE_COLOR, and whether it is a terminal."""
    if choice != "auto":
        return choice == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return not to_file and _is_terminal(stream) and environ.get("TERM") != "dumb"


def width(stream: IO[str] | None) -> int:
    """Columns to write for: the terminal's, no more than can be read well; 80 elsewhere."""
    return min(shutil.get_terminal_size((80, 24)).columns, _WIDEST) if _is_terminal(stream) else 80


def write_stream(text: str, stream: IO[str] | None) -> None:
    """Write all of ``text``; a reader that went away is no error, a full disk is ``BadInput``."""
    if stream is None:  # started with the stream closed
        return
    encoding: str = getattr(stream, "encoding", None) or "utf-8"
    try:
        stream.write(text.encode(encoding, errors="backslashreplace").decode(encoding))
        stream.flush()
    except BrokenPipeError:
        _silence(stream)
    except OSError as error:
        _silence(stream)
        raise BadInput(f"the output cannot be written: {error.strerror}") from error


def write_file(text: str, path: Path) -> None:
    """Replace ``path`` whole or leave it as it was. Raises ``BadInput`` where that fails."""
    try:
        if path.exists() and not path.is_file():  # a device or a pipe has no content to protect
            path.write_text(text, encoding="utf-8")
            return
        target = path.resolve()
        draft = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            draft.write_text(text, encoding="utf-8")
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise BadInput(f"--output {path}: cannot be written: {error.strerror}") from error


def refuse_unwritable(name: str | Path, option: str = "--output") -> None:
    """Raise ``BadInput`` for a file that could not be written, before any work is done for it."""
    if not str(name):
        raise BadInput(f"{option} names no file: is a variable empty that it is made of?")
    try:
        why = _why_unwritable(Path(name))
    except (OSError, ValueError, RuntimeError) as error:  # a zero byte; links that go in circles
        why = getattr(error, "strerror", None) or str(error)
    if why:
        raise BadInput(f"{option} {name}: cannot be written: {why}")


def _why_unwritable(path: Path) -> str:
    folder = path.resolve().parent
    if path.is_dir():
        return "it is a folder"
    if not folder.is_dir():
        return f"there is no folder {folder}"
    if not os.access(folder, os.W_OK) and not path.exists():
        return f"no permission in {folder}"
    return ""


def emit(text: str, output: str | None) -> None:
    """Write data: to the file ``output``, or to stdout where none is named."""
    if output is None:
        write_stream(text, sys.stdout)
    else:
        write_file(text, Path(output))


def say(text: str) -> None:
    """Write one line for the person to stderr, shortened in its middle where it has no end."""
    from qdoctor.report.visible import visible  # noqa: PLC0415 - nothing to say is the common case

    shown = visible(text)
    if len(shown) > _LONGEST:
        shown = f"{shown[: _LONGEST // 2]} ... {shown[-_LONGEST // 2 :]}"
    complain(f"qdoctor: {shown}\n")


def complain(text: str) -> None:
    """Write to stderr; where that takes nothing nobody can be told, and the exit code says it."""
    with contextlib.suppress(BadInput):
        write_stream(text, sys.stderr)


class Progress:
    """Shows what is going on, once that has taken more than a second.

    On a terminal one line is rewritten and removed at the end; elsewhere lines are plain.
    """

    def __init__(self, stream: IO[str] | None) -> None:
        """``stream`` is where progress goes: standard error."""
        self._stream = stream
        self._terminal = _is_terminal(stream)
        self._lock = threading.Lock()
        self._patient = True
        self._latest = ""
        self._timer = threading.Timer(_PATIENCE, self._begin)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        """Start the second of patience."""
        with contextlib.suppress(RuntimeError):  # no thread to be had (ulimit -u): nothing is shown
            self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the line off the terminal."""
        self._timer.cancel()
        with self._lock:
            if self._terminal and not self._patient:
                self._put("\r\x1b[K")

    def __call__(self, text: str) -> None:
        """Say what begins now."""
        with self._lock:
            self._latest = text
            if not self._patient:
                self._show()

    def _begin(self) -> None:
        with self._lock:
            self._patient = False
            if self._latest:
                self._show()

    def _show(self) -> None:
        columns = shutil.get_terminal_size((80, 24)).columns - 1
        self._put(f"\r\x1b[K{self._latest[:columns]}" if self._terminal else f"{self._latest}\n")

    def _put(self, text: str) -> None:
        with contextlib.suppress(BadInput):
            write_stream(text, self._stream)


def _is_terminal(stream: IO[str] | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def _silence(stream: IO[str]) -> None:
    """Let what is still buffered go nowhere, so that closing the stream does not fail again."""
    with contextlib.suppress(OSError, ValueError):
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, stream.fileno())
        os.close(sink)
