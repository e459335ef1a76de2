"""The whole of mining: index -> releases without a shard -> wheels -> shards, index.json."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from packaging.version import Version

from qdoctor.mining import (
    bitsandbytes_release,
    dependents,
    together,
    torch_release,
    torchao_release,
    triton_release,
)
from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.http import Transport
from qdoctor.mining.index import WheelFile, by_release, wheels
from qdoctor.mining.shard import Shard, keep_observed, path_of, today, write, write_index

if TYPE_CHECKING:
    from pathlib import Path

Reader = Callable[[Shard, Sequence[WheelFile], Transport], None]


@dataclass(frozen=True)
class Kind:
    """How the releases of one package are read, from which release or upload on.

    ``together``: they are so many that they lie in one file.
    """

    package: str
    first: Version
    read: Reader
    together: bool = False
    since: str = ""


KINDS = tuple(
    Kind(module.PACKAGE, Version(module.FIRST), module.read)
    for module in (triton_release, bitsandbytes_release, torch_release, torchao_release)
) + tuple(
    Kind(package, Version("0"), dependents.read, together=True, since=dependents.since(package))
    for package in dependents.PACKAGES
)
_THREADS = 8
_Job = tuple[Kind, Version, list[WheelFile]]


@dataclass
class Mined:
    """What one run did: releases written, unchanged, failed (why); bytes, requests, seconds."""

    written: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    received: int = 0
    requests: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Wanted:
    """Which releases to read: all, of one package, one release; also those that have a shard.

    ``known`` (package, version) are left out in any case: somebody else's data holds them. What is
    read beside such data gets a file a release, as it is to be laid over that.
    """

    package: str | None = None
    version: str | None = None
    refresh: bool = False
    known: frozenset[tuple[str, str]] = frozenset()

    def fits(self, kind: Kind, version: Version, files: Sequence[WheelFile]) -> bool:
        """Say whether a release is asked for."""
        if (kind.package, str(version)) in self.known:
            return False
        if self.version is not None:
            return version == Version(self.version)
        uploaded = max(file.uploaded for file in files)
        late = not uploaded or uploaded >= kind.since
        return late and version >= kind.first and not version.is_prerelease


def mine(
    folder: Path,
    index_url: str,
    transport: Transport,
    wanted: Wanted,
    progress: Callable[[str], None],
) -> Mined:
    """Read the wanted releases and write their shards and ``index.json`` into ``folder``.

    A release that cannot be read is reported in ``failed`` and leaves no shard; the others go on.
    """
    started = time.monotonic()
    mined = Mined()
    jobs: list[_Job] = []
    for kind in KINDS:
        if wanted.package in (None, kind.package):
            try:
                jobs += _jobs(folder, index_url, transport, wanted, kind)
            except UnreadableRelease as error:
                if wanted.package or not kind.together:
                    raise  # without the packages that this is about, there is no matrix
                mined.failed[kind.package] = str(error)
                progress(f"{kind.package}: not read: {error}")
    if not jobs and wanted.version is not None and not wanted.refresh:
        progress("nothing to read: the shard is there, or the index has no such release")
    with ThreadPoolExecutor(_THREADS) as pool:
        running = {pool.submit(_one, kind, v, files, transport): v for kind, v, files in jobs}
        for done in as_completed(running):
            _keep(folder, done, mined, progress, alone=bool(wanted.known))
    if folder.is_dir():
        renew_index(folder, changed=bool(mined.written))
    mined.received, mined.requests = transport.received, transport.requests
    mined.seconds = time.monotonic() - started
    return mined


def renew_index(folder: Path, *, changed: bool) -> bool:
    """Write ``index.json`` from what lies in ``folder``; today's version if a shard changed."""
    many = {package: together.versions(folder, package) for package in together.packages(folder)}
    return write_index(folder, today(), many, changed=changed)


def holds(folder: Path, package: str, version: Version) -> bool:
    """Say whether ``folder`` has a release, in whichever file."""
    shard = path_of(folder, package, version)
    return shard.exists() or version in together.versions(folder, package)


def _jobs(
    folder: Path, index_url: str, transport: Transport, wanted: Wanted, kind: Kind
) -> Iterator[_Job]:
    for version, files in by_release(wheels(index_url, kind.package, transport)).items():
        asked = wanted.fits(kind, version, files)
        if asked and (wanted.refresh or not holds(folder, kind.package, version)):
            yield kind, version, files


def _one(
    kind: Kind, version: Version, files: list[WheelFile], transport: Transport
) -> tuple[Shard, str]:
    """Read one release: its shard, and why it could not be read, ``""`` if it could."""
    shard = Shard(kind.package, str(version))
    try:
        kind.read(shard, files, transport)
    except UnreadableRelease as error:
        return shard, str(error)
    except Exception as error:  # noqa: BLE001 - our own mistake must not cost the other releases
        return shard, f"a mistake of qdoctor's: {error!r}"
    return shard, ""


def _keep(
    folder: Path,
    done: Future[tuple[Shard, str]],
    mined: Mined,
    progress: Callable[[str], None],
    *,
    alone: bool,
) -> None:
    shard, why = done.result()
    name = f"{shard.package}=={shard.version}"
    if why:
        mined.failed[name] = why
        progress(f"{name}: not read: {why}")
        return
    if shard.package in dependents.PACKAGES and not alone:
        changed = together.put(folder, shard)
    else:
        path = path_of(folder, shard.package, Version(shard.version))
        keep_observed(shard, path)
        changed = write(path, shard.text())
    (mined.written if changed else mined.unchanged).append(name)
    progress(f"{name}: {len(shard.facts)} facts" + ("" if changed else ", unchanged"))
