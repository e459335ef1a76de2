"""The one folder that qdoctor may write to unasked.

Importing it is free: ``location`` is asked on the way to an answer that is kept, where every module
counts. The others load what they need.
"""

# ruff: noqa: PLC0415 - see above
# ruff: noqa: PTH111, PTH117, PTH118 - pathlib alone costs more than reading an answer
from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as typing's, without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TAG = "CACHEDIR.TAG"
# The signature of https://bford.info/cachedir/, then who made the folder.
_SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55\n# Created by qdoctor.\n"
_DRAFT = f".{TAG}."
_PRIVATE = 0o700


def location(environ: Mapping[str, str]) -> str:
    """Where the cache lies, as ``folder`` gives it, without loading anything on Linux.

    There it is what platformdirs answers: ``$XDG_CACHE_HOME/qdoctor`` or ``~/.cache/qdoctor``.
    """
    if named := environ.get("QDOCTOR_CACHE_DIR"):
        return os.path.expanduser(named)
    if sys.platform == "linux" and "ANDROID_ROOT" not in environ:
        base = os.environ.get("XDG_CACHE_HOME", "")
        return os.path.join(
            base if os.path.isabs(base) else os.path.expanduser("~/.cache"), "qdoctor"
        )
    import platformdirs  # 20 ms that only the cache needs

    return platformdirs.user_cache_dir("qdoctor", appauthor=False)


def folder(environ: Mapping[str, str]) -> Path:
    """Where the cache lies: ``QDOCTOR_CACHE_DIR``, else the platform's place; may not exist."""
    from pathlib import Path

    return Path(location(environ))


def made_folder(environ: Mapping[str, str]) -> Path:
    """The cache folder, created for this user alone and marked as ours if it was not there.

    Raises ``BadInput`` where somebody else's files already lie in that folder, or where there is no
    home for it. Several processes may create it at once.
    """
    from qdoctor.model import BadInput

    path = folder(environ)
    if path.parts[:1] == ("~",):
        raise BadInput("this user has no home folder: name a cache in QDOCTOR_CACHE_DIR")
    if not (path / TAG).exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=_PRIVATE, exist_ok=True)
        strangers = any(not each.name.startswith(_DRAFT) for each in path.iterdir())
        if strangers and not (path / TAG).exists():  # the tag is what the first of ours writes
            raise BadInput(f"{path} holds files of somebody else: give qdoctor a cache of its own")
        _write_tag(path)
    return path


def _write_tag(path: Path) -> None:
    """Write it whole or, on a full disk, not at all: an empty one would not be ours to delete."""
    draft = path / f"{_DRAFT}{os.getpid()}.{os.urandom(4).hex()}"
    try:
        draft.write_text(_SIGNATURE, encoding="utf-8")
        draft.replace(path / TAG)
    finally:
        draft.unlink(missing_ok=True)


def clear(environ: Mapping[str, str]) -> Path | None:
    """Delete the cache folder and return it; None when there was nothing.

    Raises ``BadInput`` for a folder that qdoctor did not make (a mistaken ``QDOCTOR_CACHE_DIR``) or
    may not delete.
    """
    from qdoctor.model import BadInput

    path = folder(environ)
    try:
        return _cleared(path)
    except OSError as error:
        raise BadInput(
            f"{path} cannot be deleted: {error.strerror}; delete it yourself, or check "
            "QDOCTOR_CACHE_DIR"
        ) from error


def _cleared(path: Path) -> Path | None:
    import shutil

    from qdoctor.model import BadInput

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
