"""Releases of one package in one file, ``dependents/<package>.json``, each as in its shard."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from qdoctor.mining.shard import Shard, write

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "dependents"


def versions(folder: Path, package: str) -> list[Version]:
    """Name the releases that the package's file holds, ascending."""
    return sorted(Version(version) for version in _read(folder, package))


def put(folder: Path, shard: Shard) -> bool:
    """Add one release to its package's file; False where the file already says the same."""
    releases = _read(folder, shard.package)
    releases[shard.version] = {"facts": shard.facts, "evidence": shard.evidence}
    ordered = {str(v): releases[str(v)] for v in sorted(map(Version, releases))}
    plain = {"package": shard.package, "releases": _sorted(ordered)}
    return write(
        folder / FOLDER / f"{shard.package}.json",
        json.dumps(plain, indent=1, ensure_ascii=False) + "\n",
    )


def packages(folder: Path) -> list[str]:
    """Name the packages whose releases lie together, sorted."""
    return sorted(path.stem for path in (folder / FOLDER).glob("*.json"))


def _read(folder: Path, package: str) -> dict[str, Any]:
    path = folder / FOLDER / f"{package}.json"
    if not path.exists():
        return {}
    releases: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["releases"]
    return releases


def _sorted(releases: dict[str, Any]) -> dict[str, Any]:
    """Order the keys inside each release; the releases keep their order."""
    return {v: json.loads(json.dumps(one, sort_keys=True)) for v, one in releases.items()}
