"""Mining on the user's behalf: into their own data folder, or a whole matrix for maintainers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from packaging.version import Version

from qdoctor import local_data, release_question
from qdoctor import matrix as matrices
from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.index import configured
from qdoctor.mining.mine import KINDS, Wanted, holds, mine
from qdoctor.model import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from qdoctor.matrix import Matrix
    from qdoctor.mining.mine import Mined
    from qdoctor.release_question import Asked

PACKAGES = tuple(kind.package for kind in KINDS)
"""The packages whose releases can be mined."""


class Order(msgspec.Struct, frozen=True):
    """What to read: all new releases, those of ``package``, or the one release ``only`` names.

    ``folder``: a whole matrix to build there; None: the user's own data, beside the shipped.
    """

    only: str | None = None
    package: str | None = None
    refresh: bool = False
    folder: Path | None = None


def learn(
    order: Order, environ: Mapping[str, str], progress: Callable[[str], None]
) -> dict[str, Any]:
    """Read what is ordered and say what was done, as plain values.

    Raises ``BadInput`` for an order that cannot be meant, data that cannot be added to, and an
    index that does not answer.
    """
    only = one_release(order.only) if order.only else None
    package = only.package if only else known_package(order.package)
    if only and order.package not in (None, only.package):
        raise BadInput(f"--package {order.package} leaves nothing of --only {order.only}")
    folder = order.folder or local_data.matrix_folder(environ)
    known = frozenset() if order.folder else _releases(matrices.shipped())
    _refuse_broken(folder, environ, own=order.folder is None)
    if only and (only.package, str(Version(only.version or ""))) in known:
        return _told(folder, held=str(only))
    wanted = Wanted(package, only.version if only else None, order.refresh, known)
    try:
        index_url, transport = configured()
        mined = mine(folder, index_url, transport, wanted, progress)
    except UnreadableRelease as error:
        raise BadInput(f"nothing was read: {error}; mining needs pip's index") from error
    except OSError as error:
        raise BadInput(f"nothing can be written to {folder}: {error.strerror}") from error
    return _told(folder, mined, wanted_one=_absent(only, folder))


def one_release(text: str) -> Asked:
    """Read ``PACKAGE==VERSION`` of a package that can be mined. Raises ``BadInput``."""
    asked = release_question.read(text)
    known_package(asked.package)
    if asked.version is None or not asked.version[-1].isalnum() or asked.version[-1] in "xX":
        raise BadInput(f"--only {text}: name one release, such as {asked.package}==2.1.0")
    return asked


def known_package(package: str | None) -> str | None:
    """Return a package that can be mined, None for all. Raises ``BadInput`` for another one."""
    if package is not None and package not in PACKAGES:
        raise BadInput(f"{package} cannot be mined; what can be: {', '.join(PACKAGES)}")
    return package


def what_is_missing(done: Mapping[str, Any]) -> str:
    """Say what of the order could not be read; ``""`` for nothing."""
    if done["failed"]:
        return f"{len(done['failed'])} not read: " + "; ".join(
            f"{name}: {why}" for name, why in done["failed"].items()
        )
    return str(done["absent"])


def _absent(only: Asked | None, folder: Path) -> str:
    """Say that the release asked for is not on the index; ``""`` where it was read."""
    if only is None:
        return ""
    there = holds(folder, only.package, Version(only.version or ""))
    return "" if there else f"the index has no wheel of {only}"


def _releases(matrix: Matrix) -> frozenset[tuple[str, str]]:
    return frozenset((one, str(v)) for one in matrix.packages for v in matrix.versions(one))


def _refuse_broken(folder: Path, environ: Mapping[str, str], *, own: bool) -> None:
    """Raise ``BadInput`` for data that cannot be read: adding to it would hide that."""
    if own:
        local_data.current(environ)
    elif (folder / "index.json").exists():
        matrices.load(folder)


def _told(
    folder: Path, mined: Mined | None = None, *, held: str = "", wanted_one: str = ""
) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "written": sorted(mined.written) if mined else [],
        "unchanged": sorted(mined.unchanged) if mined else [],
        "failed": dict(sorted(mined.failed.items())) if mined else {},
        "shipped": held,
        "absent": "" if mined and mined.failed else wanted_one,
        "bytes": mined.received if mined else 0,
        "requests": mined.requests if mined else 0,
        "seconds": round(mined.seconds, 1) if mined else 0.0,
    }
