"""Writes the command of a fix for the tool that manages the examined environment.

Rules offer ``python -m pip ...``; here, and only here, that becomes what uv, poetry or pixi call
it, or names the interpreter where ``python`` would be another one. In conda's environments pip
stays: the matrix is read from the index's wheels, and says nothing of conda-forge's builds.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import msgspec

from qdoctor.model import Python

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdoctor.machine import Machine
    from qdoctor.model import Fix

_PIP = ("python", "-m", "pip")
_OURSELVES = "qdoctor"
_WINDOWS = re.compile(r"[A-Za-z]:\\|\\\\")
_SPECIAL = re.compile(r"([^\w@%+:,./~-])")
"""What a shell would not take as it is, apart from ``~``, which stands for the home folder."""
_SYSTEMS = "this Python is the system's, which pip leaves alone (PEP 668)"


class Request(msgspec.Struct, frozen=True):
    """What a command of pip asks for: ``said`` is all of it after the verb, as it was written.

    ``rest`` holds options beyond those that every tool has a word for.
    """

    verb: str
    said: str
    wanted: tuple[str, ...]
    anew: bool = False
    alone: bool = False
    index: str | None = None
    rest: tuple[str, ...] = ()


def written_for(fix: Fix, machine: Machine, interpreter: str | None = None) -> Fix:
    """Return the fix with its command as this environment's tool takes it.

    ``interpreter`` is the examined one where ``python`` is known to be another. What is no command
    of pip, or is about qdoctor itself, stays as it is.
    """
    request = _request(fix.command) if fix.command and fix.package != _OURSELVES else None
    if request is None:
        return fix
    python = machine.facts.python or Python()
    if python.externally_managed and request.verb == "uninstall":
        why = f"{fix.why}; {_SYSTEMS}: its package manager takes it away"
        return msgspec.structs.replace(fix, why=why, command=None, applicability="display-only")
    if python.externally_managed:
        why = f"{fix.why}; {_SYSTEMS}: a virtual environment that sees its packages takes it"
        return msgspec.structs.replace(fix, why=why, command=_beside_system(request, python))
    write = _TOOLS.get(python.manager or "")
    if write is None or (request.rest and write is not _uv):
        return _with_pip(fix, request, machine, interpreter)
    command = write(request, python)
    if command is None:
        why = f"{fix.why}; {_in_manifest(request)}"
        return msgspec.structs.replace(fix, why=why, command=None, applicability="display-only")
    return msgspec.structs.replace(fix, command=command)


def _request(command: str) -> Request | None:
    """Read a command of pip; None for any other command."""
    words = shlex.split(command)
    if tuple(words[:3]) != _PIP or words[3:4] not in (["install"], ["uninstall"]):
        return None
    given = iter(words[4:])
    wanted: list[str] = []
    rest: list[str] = []
    flags: set[str] = set()
    index: str | None = None
    for word in given:
        if word == "--index-url":
            index = next(given, None)
        elif word in {"--force-reinstall", "--no-deps", "-y"}:
            flags.add(word)
        else:
            (rest if word.startswith("-") else wanted).append(word)
    return Request(
        words[3],
        command.split(f" {words[3]} ", 1)[-1],
        tuple(wanted),
        anew="--force-reinstall" in flags,
        alone="--no-deps" in flags,
        index=index,
        rest=tuple(rest),
    )


def _with_pip(fix: Fix, request: Request, machine: Machine, interpreter: str | None) -> Fix:
    """Name the interpreter where ``python`` is another one; pip from outside where it has none."""
    if interpreter is None:
        return fix
    packages = machine.facts.packages or {}
    outside = "pip" not in packages and "torch" in packages
    pip = f"python -m pip --python {_word(interpreter)}"
    head = pip if outside else f"{_word(interpreter)} -m pip"
    return msgspec.structs.replace(fix, command=f"{head} {request.verb} {request.said}")


def _beside_system(request: Request, python: Python) -> str:
    make = f"{_word(python.executable or 'python3')} -m venv --system-site-packages .venv"
    return f"{make} && .venv/bin/python -m pip {request.verb} {request.said}"


def _uv(request: Request, python: Python) -> str:
    if python.project and request.verb == "install" and not request.rest:
        return _uv_project(request, python.project)
    place = python.executable or python.prefix
    if request.rest:  # options that uv pip takes as pip does, in pip's words
        return f"uv pip {request.verb} --python {_word(place or '.venv')} {request.said}"
    parts = [
        f"uv pip {request.verb}",
        f"--python {_word(place)}" if place else "",
        "--reinstall" * request.anew,
        "--no-deps" * request.alone,
        _wanted(request),
        f"--index-url {request.index}" if request.index else "",
    ]
    return " ".join(part for part in parts if part)


def _uv_project(request: Request, project: str) -> str:
    """Change the lock file too: what ``uv pip`` installs is undone by the next ``uv sync``."""
    folder = f"--project {_word(project)}"
    if request.anew and not request.index:
        again = " ".join(f"--reinstall-package {_name(one)}" for one in request.wanted)
        return f"uv sync {folder} {again}"
    index = f" --index {_source(request.index)}={request.index}" if request.index else ""
    return f"uv add {folder} {_wanted(request)}{index}"


def _poetry(request: Request, python: Python) -> str:
    folder = f" --directory {_word(python.project)}" if python.project else ""
    again = request.anew and not request.index
    if again or request.verb == "uninstall":  # the lock file says what it should say already
        return f"poetry run{folder} python -m pip {request.verb} {request.said}"
    if not request.index:
        return f"poetry add{folder} {_wanted(request)}"
    source = _source(request.index)
    add = f"poetry source add{folder} --priority=explicit {source} {request.index}"
    return f"{add} && poetry add{folder} --source {source} {_wanted(request)}"


def _pixi(request: Request, python: Python) -> str | None:
    folder = f" --manifest-path {_word(python.project)}" if python.project else ""
    names = " ".join(_name(one) for one in request.wanted)
    if request.index:
        return None
    if request.verb == "uninstall":
        return f"pixi remove --pypi{folder} {names}"
    if request.anew:
        return f"pixi reinstall{folder} {names}"
    return f"pixi add --pypi{folder} {_wanted(request)}"


_TOOLS: dict[str, Callable[[Request, Python], str | None]] = {
    "uv": _uv,
    "poetry": _poetry,
    "pixi": _pixi,
}


def _in_manifest(request: Request) -> str:
    """Say what to write by hand where no command sets a package's own index."""
    lines = [
        f'{name} = {{ version = "{one.removeprefix(name) or "*"}", index = "{request.index}" }}'
        for one in request.wanted
        for name in [_name(one)]
    ]
    return f"in pixi.toml, under [pypi-dependencies]: {', '.join(lines)}; then run `pixi install`"


def _wanted(request: Request) -> str:
    return " ".join(one if one == _name(one) else f'"{one}"' for one in request.wanted)


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return found[0] if found else requirement


def _source(index: str) -> str:
    """Name an index by the build that it holds: ``pytorch-cu126``."""
    return f"pytorch-{index.rstrip('/').rsplit('/', 1)[-1]}"


def _word(path: str) -> str:
    """Write a path as one word, outside of quotes: there ``~`` would not be the home folder."""
    if _WINDOWS.match(path):
        return f'"{path}"' if " " in path else path
    return _SPECIAL.sub(r"\\\1", path)
