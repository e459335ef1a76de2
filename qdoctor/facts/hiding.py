"""Files of the user's that Python would import in place of modules of its own library.

A ``random.py`` in a folder on PYTHONPATH comes before Python's: torch, and much else, then fails to
be imported, or misbehaves. (One beside a script does the same to that script alone; which scripts
there are is not known here.)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qdoctor.model import FoundPackage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# Python has imported these before it looks at PYTHONPATH, or carries them inside.
_BEFORE = {
    *("_collections_abc", "_sitebuiltins", "abc", "codecs", "encodings", "genericpath", "io"),
    *("ntpath", "os", "posixpath", "runpy", "site", "stat", "zipimport"),
    *sys.builtin_module_names,
}
_NAMES = sys.stdlib_module_names - _BEFORE


def hidden_library(path: Sequence[str], version: str) -> list[FoundPackage]:
    """Return each such file before the one of Python's that it hides; ``version`` is Python's."""
    at = next((at for at, entry in enumerate(path) if _is_library(entry)), 0)
    pairs = [
        pair
        for entry in path[:at]
        for file in _modules(entry)
        if (pair := _hidden_by(file, path[at], version))
    ]
    return [copy for pair in pairs for copy in pair]


def _is_library(entry: str) -> bool:
    return Path(entry, "os.py").is_file() and Path(entry, "encodings").is_dir()


def _modules(entry: str) -> Iterator[Path]:
    """Yield the files in a folder that are imported by a name of Python's library."""
    try:
        names = sorted(os.listdir(entry))  # noqa: PTH208 - its entries need not exist any more
    except OSError:  # not there, a zip, or closed to us: the packages' own facts say so
        return
    for name in names:
        if name.removesuffix(".py") in _NAMES:
            yield from _file(Path(entry, name))


def _file(found: Path) -> Iterable[Path]:
    file = found if found.suffix == ".py" else found / "__init__.py"
    return [file] if file.is_file() else []


def _hidden_by(file: Path, library: str, version: str) -> list[FoundPackage] | None:
    name = file.parent.name if file.name == "__init__.py" else file.stem
    dynamic = Path(library, "lib-dynload").glob(f"{name}.*")
    homes = [Path(library, f"{name}.py"), Path(library, name, "__init__.py"), *dynamic]
    own = next((home for home in homes if home.is_file()), None)
    if own is None:  # not of that Python's library: no matter
        return None
    return [FoundPackage(name, None, str(file)), FoundPackage(name, version, str(own))]
