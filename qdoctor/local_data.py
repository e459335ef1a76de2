"""The user's own matrix data: releases mined into a folder of theirs, laid over the shipped data.

A local release never replaces a shipped one: the shipped data was checked, and one answer for one
data version is what makes reports comparable. So only releases that the shipped data lacks count.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from qdoctor import matrix as matrices
from qdoctor import shipped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdoctor.matrix import Matrix


def folder(environ: Mapping[str, str]) -> Path:
    """Where own data lies: ``QDOCTOR_DATA_DIR``, else the platform's place; may not exist."""
    if named := environ.get("QDOCTOR_DATA_DIR"):
        return Path(named).expanduser()
    import platformdirs  # noqa: PLC0415 - only where nothing is named

    return Path(platformdirs.user_data_dir("qdoctor", appauthor=False))


def matrix_folder(environ: Mapping[str, str]) -> Path:
    """Where own releases lie, an ``index.json`` and shards as in the shipped matrix."""
    return folder(environ) / "matrix"


def current(environ: Mapping[str, str]) -> Matrix:
    """Return the shipped matrix with the user's own releases beside it, if there are any.

    Raises ``BadInput`` for own data that cannot be read: it names the folder to delete.
    """
    local = matrix_folder(environ)
    try:
        changed = (local / "index.json").stat().st_mtime_ns
    except OSError:
        return matrices.shipped()
    return _together(local, changed)


@lru_cache(maxsize=4)
def _together(local: Path, changed: int) -> Matrix:  # noqa: ARG001 - read anew when it changed
    return matrices.load(shipped.matrix_folder(), local)
