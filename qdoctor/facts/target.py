"""Which interpreter is examined: the one named, else the environment the user most likely means.

Nothing is started here. A named path is looked at first, so that a file which is no interpreter is
refused without being run.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from qdoctor.facts import file_kinds
from qdoctor.model import BadInput, Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAMED = "--python"
_INTERPRETERS = ("bin/python", "bin/python3", "Scripts/python.exe", "python.exe")
_IN_BIN = ("python", "python3", "python.exe")
_LIKE_PYTHON = re.compile(r"(python|pypy)[\d.]*t?w?(-dbg)?(\.exe)?", re.IGNORECASE)
_ADVICE = "give an interpreter, a virtual environment's folder, or its bin folder"


def find_target(python: str | None, environ: Mapping[str, str]) -> Target:
    """Choose the interpreter: ``python`` as given to --python, else the default order.

    Default: $VIRTUAL_ENV, $CONDA_PREFIX, ./.venv, the running interpreter; from a tool's own
    environment (pipx's or uv's) python3 on PATH instead of the running one. What was passed over
    is said in ``Target.assumptions``. Raises ``BadInput`` for a named path without interpreter, and
    for a frozen program (PyInstaller): examined, it would be started again, and so on.
    """
    found = _found(python, environ)
    if getattr(sys, "frozen", False) and found.python == sys.executable:
        raise BadInput(f"--python: {sys.executable} is a frozen program, no interpreter; {_ADVICE}")
    return found


def _found(python: str | None, environ: Mapping[str, str]) -> Target:
    if python is not None:
        return Target(kind="interpreter", chosen_by=NAMED, python=_named(python, environ))
    passed_over: list[str] = []
    for chosen_by, folder in _environments(environ):
        found = interpreter_in(folder)
        if found and not is_tool_environment(folder):
            return Target("interpreter", chosen_by, str(found), passed_over)
        if not found:
            passed_over.append(f"{chosen_by} ({folder}) has no interpreter: passed over")
    return _running(environ, passed_over)


def interpreter_in(folder: Path) -> Path | None:
    """Find the interpreter of an environment's folder, or of its bin folder; None without one.

    A link that leads nowhere counts: that environment is broken, which is worth saying.
    """
    names = _IN_BIN if folder.name.lower() in {"bin", "scripts"} else (*_INTERPRETERS, *_IN_BIN)
    for name in names:
        path = folder / name
        if file_kinds.is_link(path) or file_kinds.is_file(path):
            return path
    return None


def is_tool_environment(prefix: Path) -> bool:
    """Whether an environment was made by pipx, ``uv tool`` or uvx to hold one tool.

    pipx writes pipx_metadata.json and ``uv tool install`` uv-receipt.toml into it; uvx and
    ``pipx run`` keep theirs in their caches. What ``uv run`` builds there for a script or a project
    is the user's own and lies in other folders of that cache.
    """
    if any(file_kinds.exists(prefix / name) for name in ("pipx_metadata.json", "uv-receipt.toml")):
        return True
    parts = prefix.parts
    in_uv_cache = any(part.startswith("archive-v") for part in parts)
    pairs = set(pairwise(parts))
    in_pipx_cache = not pairs.isdisjoint({("pipx", ".cache"), (".cache", "pipx")})
    return in_uv_cache or in_pipx_cache


def _environments(environ: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if environ.get(name):
            yield f"${name}", _absolute(Path(environ[name]))
    local = _absolute(Path(".venv"))
    if file_kinds.is_folder(local):
        yield "./.venv", local


def _running(environ: Mapping[str, str], passed_over: list[str]) -> Target:
    if not is_tool_environment(Path(sys.prefix)):
        return Target("interpreter", "the running interpreter", sys.executable, passed_over)
    own = {os.path.realpath(Path(sys.prefix, name)) for name in ("bin", "Scripts")}
    folders = [
        folder
        for folder in environ.get("PATH", os.defpath).split(os.pathsep)
        if folder and os.path.realpath(folder) not in own
    ]
    for name in ("python3", "python"):
        found = shutil.which(name, path=os.pathsep.join(folders))
        if found:
            return Target(
                "interpreter", f"{name} on PATH", str(_absolute(Path(found))), passed_over
            )
    said = [*passed_over, "no python3 on PATH: examined the environment that qdoctor itself is in"]
    return Target("interpreter", "the running interpreter", sys.executable, said)


def _absolute(path: Path) -> Path:
    """Make a path absolute and plain; links stay, since a venv's python is one."""
    try:
        return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() follows links
    except FileNotFoundError:  # the working folder is gone: it leads nowhere as it stands
        return path


def _at_home(path: Path) -> Path:
    """Fill in the home folder that ``~`` or ``~USER`` stands for. Raises ``BadInput``."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise BadInput(f"--python: {path}: no home folder is known for it; {_ADVICE}") from error


def _named(python: str, environ: Mapping[str, str]) -> str:
    """Turn --python's value into the absolute path of an interpreter that may start."""
    if not python or "\0" in python:
        raise BadInput(f"--python: {python!r} is no path; {_ADVICE}")
    path = _absolute(_at_home(Path(python)))
    if not os.path.lexists(path) and Path(python).name == python:
        on_path = shutil.which(python, path=environ.get("PATH"))
        path = Path(on_path) if on_path else path
    if file_kinds.is_folder(path):
        found = interpreter_in(path)
        if found is None:
            raise BadInput(f"--python: the folder {path} has no Python interpreter; {_ADVICE}")
        path = found
    _refuse_what_cannot_start(path)
    return str(path)


def _refuse_what_cannot_start(path: Path) -> None:
    """Raise ``BadInput`` for a file that no look at it lets be an interpreter."""
    try:
        path.stat()
    except FileNotFoundError as error:
        if file_kinds.is_link(path):
            raise BadInput(
                f"--python: {path} leads to {path.readlink()}, which is not there: the Python it "
                "was made with has been moved or removed; make the environment anew"
            ) from error
        raise BadInput(f"--python: {path} does not exist; {_ADVICE}") from error
    except OSError as error:
        why = error.strerror
        raise BadInput(f"--python: {path} cannot be looked at: {why}; {_ADVICE}") from error
    if not file_kinds.is_file(path):
        raise BadInput(f"--python: {path} is not a regular file; {_ADVICE}")
    if not os.access(path, os.X_OK):
        raise BadInput(f"--python: {path} is not executable; {_ADVICE}")
    if _is_script(path) and not _LIKE_PYTHON.fullmatch(path.name):
        # A wrapper named python (pyenv's shims, Nix) is meant to start one; other scripts are not.
        raise BadInput(f"--python: {path} is a script, not an interpreter: not run; {_ADVICE}")


def _is_script(path: Path) -> bool:
    """Whether the file is text for another program rather than a program of its own."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError:
        return False  # may still be executable: starting it will tell
    programs = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa\xcf", b"\xca\xfe\xba\xbe")
    return not start.startswith(programs)
