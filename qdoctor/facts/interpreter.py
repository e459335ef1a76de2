"""Asks the examined interpreter what it would import: one child, one bounded answer in a file."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from qdoctor import process

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdoctor.process import Ended

_SCRIPT = Path(__file__).with_name("_in_target.py")
_SECONDS = 30.0  # it takes 0.05; a cold network file system and slow site hooks need more
_ANSWER_BYTES = 16 << 20
_ROOM_BYTES = 1 << 20  # an answer takes some tens of thousands
_NO_ROOM = "there is no room for temporary files: set TMPDIR to a folder with room ({})"
_FATAL = "Fatal Python error"
_ERROR = re.compile(r"\w+Error:")
_NOT_FOUND = 127  # what a shell, and with it pyenv's shims, says of a command that is not there
_REPLACED = "\ufffd"
_NO_UTF8 = "what lies in folders whose path is no UTF-8 is not looked through"
_OLDEST = "3.6"  # what _in_target_reader.py runs on


class FoundCopy(msgspec.Struct, frozen=True):
    """A copy of a package on the import path."""

    name: str
    version: str | None
    file: str


class Distribution(msgspec.Struct, frozen=True):
    """One installed distribution: its canonical name, its metadata file, its import folder."""

    name: str
    version: str
    file: str
    folder: str


class PythonPlaces(msgspec.Struct, frozen=True):
    """The interpreter's version and folders."""

    version: str
    executable: str
    prefix: str
    base_prefix: str
    headers: bool
    externally_managed: bool = False


class Reading(msgspec.Struct, frozen=True):
    """What ``_in_target_reader.read`` returns; the two are changed together."""

    python: PythonPlaces
    c_compiler: bool
    libc: str | None
    packages: dict[str, str]
    packages_found: list[FoundCopy]
    requires: dict[str, list[str]]
    torch_cuda: str | None
    torch_arch_list: list[str] | None
    folders: dict[str, str]
    distributions: list[Distribution]
    path: list[str]
    unread: dict[str, str]


class NoAnswer(msgspec.Struct, frozen=True):
    """The interpreter gave no usable answer; ``version`` is known where it is only too old.

    ``for_want_of_room``: there was no folder for the answer, or no room in it; nothing is known of
    the interpreter.
    """

    reason: str
    version: str | None = None
    for_want_of_room: bool = False


def ask(
    python: str, environ: Mapping[str, str], *, seconds: float = _SECONDS
) -> Reading | NoAnswer:
    """Start ``python`` once with our script. Never raises for what the interpreter does."""
    try:
        with tempfile.TemporaryDirectory(prefix="qdoctor-facts-") as folder:
            ended = process.run(
                [python, "-B", str(_SCRIPT), folder],
                seconds=seconds,
                env=environ,
                watch_folder=Path(folder),
            )
            answer = _read(Path(folder, "answer.json"), ended, environ)
            if isinstance(answer, Reading) or answer.version is not None:
                return answer
            if shutil.disk_usage(folder).free < _ROOM_BYTES:
                return NoAnswer(_NO_ROOM.format(answer.reason), for_want_of_room=True)
            return answer
    except OSError as error:
        reason = f"no temporary folder for the interpreter's answer: {error}; set TMPDIR to one"
        return NoAnswer(reason, for_want_of_room=True)


def _read(answer: Path, ended: Ended, environ: Mapping[str, str]) -> Reading | NoAnswer:
    """Decode the answer; with none, say how the child ended. Its exit code alone is no verdict."""
    try:
        with answer.open("rb") as file:
            data = file.read(_ANSWER_BYTES)
    except OSError:
        return NoAnswer(_why(ended, environ))
    try:
        old = msgspec.json.decode(data, type=dict[str, msgspec.Raw]).get("unsupported")
        if old is not None:
            version = msgspec.json.decode(old, type=str)
            return NoAnswer(f"it is Python {version}; {_OLDEST} or newer is needed", version)
        return _within_reach(msgspec.json.decode(data, type=Reading))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return NoAnswer(f"its answer cannot be read: {error}")


def _within_reach(told: Reading) -> Reading:
    """Leave out what lies at paths that are no UTF-8: JSON could not name them, so we cannot look.

    Taken for what they were written as, they would lead nowhere, and their libraries be missing.
    """
    folders = {name: path for name, path in told.folders.items() if _REPLACED not in path}
    whole = [one for one in told.distributions if _REPLACED not in one.file]
    path = [folder for folder in told.path if _REPLACED not in folder]
    if (len(folders), len(whole), len(path)) == tuple(
        map(len, (told.folders, told.distributions, told.path))
    ):
        return told
    unread = {**told.unread, "native": _NO_UTF8, "triton_names": _NO_UTF8}
    return msgspec.structs.replace(
        told, folders=folders, distributions=whole, path=path, unread=unread
    )


def _why(ended: Ended, environ: Mapping[str, str]) -> str:
    if ended.start_error is not None:
        return f"it cannot be started: {ended.start_error}"
    if ended.timed_out:
        return f"it did not answer within {ended.seconds:.0f} s"
    if ended.signal is not None:
        how = f"it was ended by signal {ended.signal}"
    else:
        how = f"it ended with exit code {ended.returncode} and no answer"
    said = _telling(ended.stderr.decode("utf-8", "replace"), ended.returncode)
    home = environ.get("PYTHONHOME")
    if home and _FATAL in said:
        said += f" (PYTHONHOME is {home}, no home of this interpreter: unset it)"
    return f"{how}: {said}" if said else how


def _telling(text: str, code: int | None) -> str:
    """Pick what tells most of a child's last words.

    The last line, but of an interpreter that could not begin the error (a stack without frames
    follows it), and of a shim that has nothing to start the first (advice follows it).
    """
    lines = [line.strip()[:300] for line in text.splitlines() if line.strip()]
    fatal = [at for at, line in enumerate(lines) if line.startswith(_FATAL)]
    if fatal:
        cause = [line for line in lines[fatal[-1] + 1 :] if _ERROR.match(line)]
        return ": ".join([lines[fatal[-1]], *cause[-1:]])
    return lines[0 if code == _NOT_FOUND else -1] if lines else ""
