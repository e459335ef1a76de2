"""Which tool manages an environment, told from the files that the tools leave in it; nothing runs.

Each tool has its own mark: conda's is ``conda-meta`` (what conda itself looks for), pixi's
``conda-meta/pixi`` or a prefix in ``.pixi/envs``, uv's the key ``uv`` in ``pyvenv.cfg``, poetry's
its cache folder. A ``.venv`` beside a lock file belongs to that project's tool.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from qdoctor.facts import file_kinds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdoctor.facts.interpreter import PythonPlaces

_LOCKS = {"uv.lock": "uv", "poetry.lock": "poetry"}
_CONDA_LIKE = ("mamba", "micromamba")


class Management(msgspec.Struct, frozen=True):
    """The tool's name (``Python.manager``), and the project's folder where a lock file rules."""

    manager: str
    project: str | None = None


def managed_by(python: PythonPlaces, environ: Mapping[str, str]) -> Management:
    """Name the tool that manages the interpreter's environment; ``pip`` where no other left a mark.

    ``environ`` tells whether a poetry shell is active, and which of conda's relatives is used.
    """
    prefix = Path(python.prefix)
    if python.prefix != python.base_prefix:
        return _of_venv(prefix, environ)
    return _of_conda(prefix, environ) or Management("pip")


def _of_conda(prefix: Path, environ: Mapping[str, str]) -> Management | None:
    """Tell pixi, conda and its relatives apart; None for a folder that is none of theirs."""
    envs = prefix.parent
    if (envs.name, envs.parent.name) == ("envs", ".pixi"):
        return Management("pixi", str(envs.parent.parent))
    if file_kinds.is_file(prefix / "conda-meta" / "pixi"):
        return Management("pixi")
    if not file_kinds.is_folder(prefix / "conda-meta"):
        return None
    relative = Path(environ.get("MAMBA_EXE", "")).stem
    if relative in _CONDA_LIKE and not environ.get("CONDA_EXE"):
        return Management(relative)
    return Management("conda")


def _of_venv(prefix: Path, environ: Mapping[str, str]) -> Management:
    for lock, tool in _LOCKS.items():
        if prefix.name == ".venv" and file_kinds.is_file(prefix.parent / lock):
            return Management(tool, str(prefix.parent))
    active = environ.get("POETRY_ACTIVE") and environ.get("VIRTUAL_ENV") == str(prefix)
    if active or (prefix.parent.name == "virtualenvs" and "pypoetry" in prefix.parts):
        return Management("poetry")
    return Management("uv" if "uv" in _config(prefix) else "pip")


def _config(prefix: Path) -> set[str]:
    """Return the keys of a virtual environment's ``pyvenv.cfg``."""
    try:
        lines = (prefix / "pyvenv.cfg").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return {key.strip() for line in lines for key, equals, _ in [line.partition("=")] if equals}
