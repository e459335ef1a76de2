"""What lies at a path; one that cannot be looked at (too long, in a closed folder) leads nowhere.

``Path.exists`` and its like raise there before Python 3.14.
"""

# ruff: noqa: PTH110, PTH112, PTH113, PTH114 - see above

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def exists(path: Path) -> bool:
    """Whether something lies there."""
    return os.path.exists(path)


def is_file(path: Path) -> bool:
    """Whether a regular file lies there, or a link to one."""
    return os.path.isfile(path)


def is_folder(path: Path) -> bool:
    """Whether a folder lies there, or a link to one."""
    return os.path.isdir(path)


def is_link(path: Path) -> bool:
    """Whether a link lies there, wherever it leads."""
    return os.path.islink(path)


def inside(folder: Path) -> list[Path]:
    """What a folder holds, sorted; nothing where there is none that may be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
