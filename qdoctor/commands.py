"""Writes the command of a fix for the tool that manages the examined environment.

Rules offer ``python -m pip ...``; here, and only here, that becomes what uv, poetry or pixi call
it, or names the interpreter where ``python`` would be another one. In conda's environments pip
stays: the matrix is read from the index's wheels, and says nothing of conda-forge's builds.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from qdoctor.model import Python
from qdoctor.pip_command import name_of, quoted, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qdoctor.machine import Machine
    from qdoctor.model import Fix
    from qdoctor.pip_command import Request

_OURSELVES = "qdoctor"
_THEN = " && "
_WINDOWS = re.compile(r"[A-Za-z]:\\|\\\\")
_SPECIAL = re.compile(r"([^\w@%+:,./~-])")
"""What a shell would not take as it is, apart from ``~``, which stands for the home folder."""
_SYSTEMS = "this Python is the system's, which pip leaves alone (PEP 668)"


def written_for(fix: Fix, machine: Machine, interpreter: str | None = None) -> Fix:
    """Return the fix with its command as this environment's tool takes it.

    ``interpreter`` is the examined one where ``python`` is known to be another. What is no command
    of pip, or is about qdoctor itself, stays as it is.
    """
    if fix.command is None or fix.package == _OURSELVES:
        return fix
    steps = fix.command.split(_THEN)
    requests = [one for one in map(read, steps) if one]
    if len(requests) < len(steps):
        return fix
    if len(steps) > 1:
        return _in_steps(fix, steps, machine, interpreter)
    return _written(fix, requests[0], machine, interpreter)


def _written(fix: Fix, request: Request, machine: Machine, interpreter: str | None) -> Fix:
    python = machine.facts.python or Python()
    if python.externally_managed:
        return _for_the_systems(fix, request, python)
    write = _TOOLS.get(python.manager or "")
    if write is None or (request.rest and write is not _uv):
        return _with_pip(fix, request, machine, interpreter)
    command = write(request, python)
    if command is None:
        why = f"{fix.why}; {_in_manifest(request)}"
        return msgspec.structs.replace(fix, why=why, command=None, applicability="display-only")
    return msgspec.structs.replace(fix, command=" ".join([*request.before, command]))


def _for_the_systems(fix: Fix, request: Request, python: Python) -> Fix:
    """Leave the operating system's own Python alone: install beside it."""
    if request.verb == "uninstall":
        why = f"{fix.why}; {_SYSTEMS}: its package manager takes it away"
        return msgspec.structs.replace(fix, why=why, command=None, applicability="display-only")
    why = f"{fix.why}; {_SYSTEMS}: a virtual environment that sees its packages takes it"
    return msgspec.structs.replace(fix, why=why, command=_beside_system(request, python))


def _in_steps(fix: Fix, steps: list[str], machine: Machine, interpreter: str | None) -> Fix:
    """Write each of several commands; none where the tool has none for one of them."""
    each = [
        written_for(msgspec.structs.replace(fix, command=one), machine, interpreter)
        for one in steps
    ]
    said = [one.command for one in each if one.command]
    whole = next((one for one in each if one.command is None), fix)
    return (
        whole if len(said) < len(each) else msgspec.structs.replace(fix, command=_THEN.join(said))
    )


def _with_pip(fix: Fix, request: Request, machine: Machine, interpreter: str | None) -> Fix:
    """Name the interpreter where ``python`` is another one; pip from outside where it has none."""
    if interpreter is None:
        return fix
    packages = machine.facts.packages or {}
    outside = "pip" not in packages and "torch" in packages
    pip = f"python -m pip --python {_word(interpreter)}"
    head = pip if outside else f"{_word(interpreter)} -m pip"
    command = f"{head} {request.verb} {request.said}"
    return msgspec.structs.replace(fix, command=" ".join([*request.before, command]))


def _beside_system(request: Request, python: Python) -> str:
    make = f"{_word(python.executable or 'python3')} -m venv --system-site-packages .venv"
    return f"{make} && .venv/bin/python -m pip {request.verb} {request.said}"


def _uv(request: Request, python: Python) -> str:
    if python.project and request.verb == "install" and not request.rest:
        return _uv_project(request, python.project)
    place = python.executable or python.prefix
    if request.rest:  # options that uv pip takes as pip does, in pip's words
        said = msgspec.structs.replace(request, newer=False).said
        words = [f"uv pip {request.verb} --python {_word(place or '.venv')}", *_let_move(request)]
        return " ".join([*words, said])
    parts = [
        f"uv pip {request.verb}",
        f"--python {_word(place)}" if place else "",
        "--reinstall" * request.anew,
        "--no-deps" * request.alone,
        *_let_move(request),
        _wanted(request),
        f"--index-url {request.index}" if request.index else "",
    ]
    return " ".join(part for part in parts if part)


def _uv_project(request: Request, project: str) -> str:
    """Change the lock file too: what ``uv pip`` installs is undone by the next ``uv sync``."""
    folder = f"--project {_word(project)}"
    if request.anew and not request.index:
        again = " ".join(f"--reinstall-package {name_of(one)}" for one in request.wanted)
        return f"uv sync {folder} {again}"
    index = f" --index {_source(request.index)}={request.index}" if request.index else ""
    return " ".join(["uv add", folder, *_let_move(request), _wanted(request)]) + index


def _let_move(request: Request) -> list[str]:
    """Let these packages move, and only these: uv's ``--upgrade`` would move all they require."""
    return [f"--upgrade-package {name_of(one)}" for one in request.wanted if request.newer]


def _poetry(request: Request, python: Python) -> str:
    folder = f" --directory {_word(python.project)}" if python.project else ""
    again = request.anew and not request.index
    if again or request.verb == "uninstall":  # the lock file says what it should say already
        return f"poetry run{folder} python -m pip {request.verb} {request.said}"
    moves = request.newer or len(request.wanted) > 1
    open_ = [one for one in request.wanted if moves and one == name_of(one)]
    wanted = _listed([f"{one}@latest" if one in open_ else one for one in request.wanted])
    if not request.index:
        return f"poetry add{folder} {wanted}"
    source = _source(request.index)
    add = f"poetry source add{folder} --priority=explicit {source} {request.index}"
    return f"{add} && poetry add{folder} --source {source} {wanted}"


def _pixi(request: Request, python: Python) -> str | None:
    folder = f" --manifest-path {_word(python.project)}" if python.project else ""
    names = " ".join(name_of(one) for one in request.wanted)
    if request.index:
        return None
    if request.verb == "uninstall":
        return f"pixi remove --pypi{folder} {names}"
    if request.anew:
        return f"pixi reinstall{folder} {names}"
    if all(_is_open(request, one) for one in request.wanted):
        return f"pixi upgrade{folder} {names}"
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
        for name in [name_of(one)]
    ]
    return f"in pixi.toml, under [pypi-dependencies]: {', '.join(lines)}; then run `pixi install`"


def _is_open(request: Request, one: str) -> bool:
    """Say whether the newest release is wanted: a tool that has one already would leave it."""
    return request.newer and one == name_of(one)


def _wanted(request: Request) -> str:
    return _listed(request.wanted)


def _listed(wanted: Sequence[str]) -> str:
    return " ".join(quoted(one) for one in wanted)


def _source(index: str) -> str:
    """Name an index by the build that it holds: ``pytorch-cu126``."""
    return f"pytorch-{index.rstrip('/').rsplit('/', 1)[-1]}"


def _word(path: str) -> str:
    """Write a path as one word, outside of quotes: there ``~`` would not be the home folder."""
    if _WINDOWS.match(path):
        return f'"{path}"' if " " in path else path
    return _SPECIAL.sub(r"\\\1", path)
