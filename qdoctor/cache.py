"""The one folder that qdoctor may write to unasked."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from qdoctor.model import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping

TAG = "CACHEDIR.TAG"
# The signature of https://bford.info/cachedir/, then who made the folder.
_SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55\n# Created by qdoctor.\n"


def folder(environ: Mapping[str, str]) -> Path:
    """Where the cache lies: ``QDOCTOR_CACHE_DIR``, else the platform's place; may not exist."""
    if named := environ.get("QDOCTOR_CACHE_DIR"):
        return Path(named).expanduser()
    import platformdirs  # noqa: PLC0415 - 20 ms that only the cache needs

    return Path(platformdirs.user_cache_dir("qdoctor", appauthor=False))


def made_folder(environ: Mapping[str, str]) -> Path:
    """The cache folder, created and marked as ours if it was not there.

    Raises ``BadInput`` where somebody else's files already lie in that folder.
    """
    path = folder(environ)
    if not (path / TAG).exists():
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise BadInput(f"{path} holds files of somebody else: give qdoctor a cache of its own")
        (path / TAG).write_text(_SIGNATURE, encoding="utf-8")
    return path


def clear(environ: Mapping[str, str]) -> Path | None:
    """Delete the cache folder and return it; None when there was nothing.

    Raises ``BadInput`` for a folder that qdoctor did not make (a mistaken ``QDOCTOR_CACHE_DIR``).
    """
    path = folder(environ)
    if not path.exists():
        return None
    tag = path / TAG
    if path.is_symlink() or not tag.is_file() or tag.read_text(errors="replace") != _SIGNATURE:
        raise BadInput(
            f"{path} was not made by qdoctor (it holds no {TAG} of ours), so it is not deleted; "
            "delete it yourself, or check QDOCTOR_CACHE_DIR"
        )
    shutil.rmtree(path)
    return path
