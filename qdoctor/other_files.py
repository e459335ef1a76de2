"""Files that are taken for requirements files by mistake: what each is, and what to do instead."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qdoctor.model import BadInput

if TYPE_CHECKING:
    from pathlib import Path

_FREEZE = "in that environment, run: python -m pip list --format=freeze > requirements.txt"
_ONE_A_LINE = "write one requirement a line, as pip freeze does"
_CONDA = "conda calls packages and builds otherwise than pip does; " + _FREEZE
_NAMES: dict[str, tuple[str, str]] = {
    "poetry.lock": (
        "poetry's lock file",
        "run: poetry export --without-hashes -o requirements.txt",
    ),
    "uv.lock": ("uv's lock file", "run: uv export --no-hashes -o requirements.txt"),
    "pdm.lock": ("pdm's lock file", "run: pdm export --without-hashes -o requirements.txt"),
    "pylock.toml": ("a lock file (PEP 751)", _FREEZE),
    "pixi.lock": ("pixi's lock file", _FREEZE),
    "pixi.toml": ("pixi's list of packages", _FREEZE),
    "pyproject.toml": (
        "a project's description",
        "run: uv pip compile pyproject.toml -o requirements.txt (or pip-compile)",
    ),
    "Pipfile": ("pipenv's list of packages", "run: pipenv requirements > requirements.txt"),
    "Pipfile.lock": ("pipenv's lock file", "run: pipenv requirements > requirements.txt"),
    "setup.py": ("a project's program", _FREEZE),
    "setup.cfg": ("a project's settings", _FREEZE),
}
_SUFFIXES = {
    ".yml": ("a conda environment, or other YAML", _CONDA),
    ".yaml": ("a conda environment, or other YAML", _CONDA),
    ".toml": ("TOML", _ONE_A_LINE),
    ".whl": ("a wheel", "name it without -r"),
}
_CONTENTS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (re.compile(r"^(?:dependencies|channels):\s*$", re.MULTILINE), "a conda environment", _CONDA),
    (re.compile(r"^@EXPLICIT\s*$", re.MULTILINE), "conda's list of files", _CONDA),
    (
        re.compile(r"^\w[\w.-]*=[\w.!+]+=[\w.-]+\s*$", re.MULTILINE),
        "what conda list --export prints",
        _CONDA,
    ),
    (re.compile(r"^# packages in environment at "), "what conda list prints", _CONDA),
    (re.compile(r"^Package +Version\b.*\n-+ +-+"), "the table that pip list prints", _FREEZE),
    (
        re.compile(r"^\[+(?:packages?|project|tool\.[\w.-]+|build-system)\]+\s*$", re.MULTILINE),
        "TOML",
        _ONE_A_LINE,
    ),
    (
        re.compile(r'^\s*[\[{]\s*(?:"|\{|\[|$)'),
        "JSON",
        "a described machine is given by --facts; a requirements file has one requirement a line",
    ),
    (
        re.compile(r"^\s*<(?:!doctype|html)\b", re.IGNORECASE),
        "a web page",
        "download the file itself (raw), not the page that shows it",
    ),
)


def refuse_named(path: Path) -> None:
    """Raise ``BadInput`` for a file that by its name is no requirements file."""
    named = _NAMES.get(path.name) or _SUFFIXES.get(path.suffix)
    if named is not None:
        raise _refused(path, *named)


def refuse_content(path: Path, text: str) -> None:
    """Raise ``BadInput`` for a file with lines that no requirements file has."""
    for pattern, what, advice in _CONTENTS:
        if pattern.search(text):
            raise _refused(path, what, advice)


def _refused(path: Path, what: str, advice: str) -> BadInput:
    return BadInput(f"{path}: this is {what}, not a requirements file; {advice}")
