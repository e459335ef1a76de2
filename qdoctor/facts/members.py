"""Which Python files a distribution installed, by its RECORD; for an editable one, by its folders.

What an installer wrote down is believed for names only: every file is opened with bounds, and a
path that leads out of the import folder is left out.
"""

from __future__ import annotations

import ast
import csv
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from qdoctor.facts.distribution import record_of
from qdoctor.sources.files import Unreadable, read
from qdoctor.sources.modules import UNPARSABLE, parsed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qdoctor.facts.interpreter import Distribution

_LARGEST_RECORD = 64 << 20  # bytes; 27,000 files, as torch has, take some 3 MB
_MOST = 20_000  # files of one distribution; the largest (transformers, vllm) have some 5,000
_DEEPEST = 40
_ASIDE = re.compile(
    r"(^|/)(tests?|testing|benchmarks?|examples?|docs?)/|(^|/)(setup|conftest)\.py$"
)


class Members(msgspec.Struct, frozen=True):
    """Python files by member name (``pkg/a.py``); ``loose``: they may change without a RECORD."""

    files: dict[str, Path]
    loose: bool


def members_of(distribution: Distribution) -> Members:
    """List the Python files of a distribution, tests and examples left out."""
    folder = Path(distribution.folder)
    listed = list(_listed(Path(record_of(distribution))))
    files = {name: folder / name for name in listed if name.endswith(".py")}
    if sources := _editable(folder, listed):
        files = {name: path for root, top in sources for name, path in walked(root, top)}
        return Members(_kept(files), loose=True)
    if listed:
        return Members(_kept(files), loose=False)
    tops = _top_level(distribution)
    files = {name: path for top in tops for name, path in walked(folder, top)}
    return Members(_kept(files), loose=True)


def _kept(files: dict[str, Path]) -> dict[str, Path]:
    """Leave out what importing the package never needs, and finders of editable installs."""
    kept = {
        name: path
        for name, path in files.items()
        if not _ASIDE.search(name) and not name.startswith("__editable__")
    }
    return dict(list(kept.items())[:_MOST])


def _listed(record: Path) -> Iterator[str]:
    """Give the paths of a RECORD that lie in the import folder."""
    if record.name != "RECORD":
        return
    try:
        text = read(record, _LARGEST_RECORD).decode("utf-8", "replace")
    except Unreadable:
        return
    try:
        for row in csv.reader(text.replace("\0", "").splitlines()):
            name = row[0].replace("\\", "/") if row else ""
            if name and not name.startswith(("/", "..")) and "/../" not in name and ":" not in name:
                yield name
    except csv.Error:
        return


def _editable(folder: Path, listed: Iterable[str]) -> list[tuple[Path, str]]:
    """Give (folder, top-level name) of what an editable install leads to; [] for any other."""
    found: list[tuple[Path, str]] = []
    for name in listed:
        if "/" not in name and name.endswith(".pth"):
            found += [(root, top) for root in _paths(folder / name) for top in _importable(root)]
        elif name.startswith("__editable__") and name.endswith("_finder.py"):
            found += [(path.parent, path.name) for path in _mapping(folder / name)]
    return found


def _paths(pth: Path) -> Iterator[Path]:
    """Give the folders that a .pth file adds; its code lines are never run."""
    try:
        lines = read(pth).decode("utf-8", "replace").splitlines()
    except Unreadable:
        return
    for path in (Path(line.strip()) for line in lines if line.strip()):
        if path.is_absolute() and path.is_dir():
            yield path


def _importable(root: Path) -> list[str]:
    """Name the packages and modules of a folder on the import path."""
    with os.scandir(root) as entries:
        names = sorted(entry.name for entry in entries)[:_MOST]
    return [
        name
        for name in names
        if (name.endswith(".py") and name != "setup.py") or (root / name / "__init__.py").is_file()
    ]


def _mapping(finder: Path) -> list[Path]:
    """Read the MAPPING of setuptools' editable finder, a literal: module -> folder."""
    try:
        for node in parsed(read(finder)).body:
            if (
                isinstance(node, ast.AnnAssign)
                and isinstance(node.target, ast.Name)
                and node.target.id == "MAPPING"
                and node.value is not None
            ):
                return [Path(str(path)) for path in dict(ast.literal_eval(node.value)).values()]
    except (Unreadable, TypeError, *UNPARSABLE):
        pass
    return []


def _top_level(distribution: Distribution) -> list[str]:
    """Name the top-level packages that metadata without a RECORD states."""
    try:
        text = read(Path(distribution.file).with_name("top_level.txt")).decode("utf-8", "replace")
    except Unreadable:
        return []
    return [line.strip() for line in text.splitlines() if line.strip().isidentifier()]


def walked(root: Path, top: str) -> Iterator[tuple[str, Path]]:
    """Give the Python files below a package's folder; links are not followed, depth is bounded."""
    start = root / top
    if start.is_file():
        yield top, start
    seen = 0
    for folder, folders, names in os.walk(start, followlinks=False):
        inner = Path(folder).relative_to(root)
        if len(inner.parts) > _DEEPEST or seen > _MOST:
            return
        folders[:] = sorted(name for name in folders if name.isidentifier())
        for name in sorted(names):
            if name.endswith(".py"):
                seen += 1
                yield (inner / name).as_posix(), Path(folder, name)
