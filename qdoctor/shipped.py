"""Where the folders that travel with qdoctor lie: in the wheel, else at the top of a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def kernels_folder() -> Path:
    """Return the folder of the probe kernels."""
    return _folder("kernels")


def matrix_folder() -> Path:
    """Return the folder of the compatibility data."""
    return _folder("matrix")


def _folder(name: str) -> Path:
    installed = _PACKAGE / f"_{name}"
    return installed if installed.is_dir() else _PACKAGE.parent / name
