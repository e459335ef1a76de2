"""The whole of mining: index -> releases without a shard -> wheels -> shards, index.json."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from packaging.version import Version

from qdoctor.mining import bitsandbytes_release, torch_release, triton_release
from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.http import Transport
from qdoctor.mining.index import WheelFile, by_release, wheels
from qdoctor.mining.shard import Shard, path_of, write, write_index

if TYPE_CHECKING:
    from pathlib import Path

Reader = Callable[[Shard, Sequence[WheelFile], Transport], None]


@dataclass(frozen=True)
class Kind:
    """How the releases of one package are read, from which release on."""

    package: str
    first: Version
    read: Reader


KINDS = tuple(
    Kind(module.PACKAGE, Version(module.FIRST), module.read)
    for module in (triton_release, bitsandbytes_release, torch_release)
)
_THREADS = 8


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

    ``known`` (package, version) are left out in any case: somebody else's data holds them.
    """

    package: str | None = None
    version: str | None = None
    refresh: bool = False
    known: frozenset[tuple[str, str]] = frozenset()

    def fits(self, kind: Kind, version: Version) -> bool:
        """Say whether a release is asked for."""
        if (kind.package, str(version)) in self.known:
            return False
        if self.version is not None:
            return version == Version(self.version)
        return version >= kind.first and not version.is_prerelease


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
    jobs = list(_jobs(folder, index_url, transport, wanted))
    if not jobs and wanted.version is not None and not wanted.refresh:
        progress("nothing to read: the shard is there, or the index has no such release")
    with ThreadPoolExecutor(_THREADS) as pool:
        running = {pool.submit(_one, kind, v, files, transport): v for kind, v, files in jobs}
        for done in as_completed(running):
            _keep(folder, done, mined, progress)
    today = datetime.now(timezone.utc).strftime("%Y.%m.%d")
    if (folder / "releases").is_dir():
        write_index(folder, today, changed=bool(mined.written))
    mined.received, mined.requests = transport.received, transport.requests
    mined.seconds = time.monotonic() - started
    return mined


def _jobs(
    folder: Path, index_url: str, transport: Transport, wanted: Wanted
) -> Iterator[tuple[Kind, Version, list[WheelFile]]]:
    for kind in KINDS:
        if wanted.package not in (None, kind.package):
            continue
        for version, files in by_release(wheels(index_url, kind.package, transport)).items():
            there = path_of(folder, kind.package, version).exists()
            if wanted.fits(kind, version) and (wanted.refresh or not there):
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
) -> None:
    shard, why = done.result()
    name = f"{shard.package}=={shard.version}"
    if why:
        mined.failed[name] = why
        progress(f"{name}: not read: {why}")
        return
    path = path_of(folder, shard.package, Version(shard.version))
    changed = write(path, shard.text())
    (mined.written if changed else mined.unchanged).append(name)
    progress(f"{name}: {len(shard.facts)} facts" + ("" if changed else ", unchanged"))
