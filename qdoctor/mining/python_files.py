"""The Python files of a released archive: a wheel, or the sources of a package without one."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import parse_sdist_filename, parse_wheel_filename

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from packaging.version import Version

_SOURCES = ".tar.gz"


def archives(folder: str | Path) -> list[Path]:
    """List the wheels and sources that lie in a folder, by name."""
    every = Path(folder).iterdir()
    return sorted(one for one in every if one.name.endswith((".whl", _SOURCES)))


def released(path: Path) -> tuple[str, Version]:
    """Give the package, in its canonical spelling, and the release; by the archive's name."""
    if path.name.endswith(_SOURCES):
        return parse_sdist_filename(path.name)
    name, version, *_ = parse_wheel_filename(path.name)
    return name, version


def python_files(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """Yield (member, text) of each ``.py`` file whose name is wanted, in the archive's order.

    Names are those below the archive's own folder, where it has one: ``package/module.py``.
    """
    for name, data in members(path, lambda name: name.endswith(".py") and wanted(name)):
        yield name, data.decode("utf-8", "replace")


def members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Yield (member, bytes) of each file whose name is wanted, named as by ``python_files``."""
    if path.name.endswith(_SOURCES):
        yield from _of_sources(path, wanted)
        return
    with zipfile.ZipFile(path) as wheel:
        for name in wheel.namelist():
            if wanted(name):
                yield name, wheel.read(name)


def _of_sources(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path) as sources:
        for member in sources:
            name = member.name.partition("/")[2]
            file = sources.extractfile(member) if wanted(name) else None
            if file is not None:
                yield name, file.read()
