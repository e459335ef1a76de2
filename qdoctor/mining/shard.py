"""One release's statements, each with its evidence, and the files they are written to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from qdoctor.mining.errors import UnreadableRelease

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from qdoctor.mining.index import WheelFile


@dataclass
class Shard:
    """Facts of one release; every fact has at least one piece of evidence."""

    package: str
    version: str
    facts: dict[str, Any] = field(default_factory=dict)
    evidence: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def say(self, key: str, value: object, *evidence: dict[str, Any]) -> None:
        """State a fact. Unknown facts are not stated at all."""
        if not evidence:
            raise UnreadableRelease(f"{self.package} {self.version}: no evidence for {key}")
        self.facts[key] = value
        self.evidence[key] = list(evidence)

    def text(self) -> str:
        """Give the shard as JSON text, the same for the same statements."""
        plain = {
            "package": self.package,
            "version": self.version,
            "facts": self.facts,
            "evidence": self.evidence,
        }
        return json.dumps(plain, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def seen(
    file: WheelFile, member: str = "", *, line: int | None = None, symbol: str | None = None
) -> dict[str, Any]:
    """Say where something was read: wheel, its sha256, member, and line or symbol there.

    Without a member it was read from the wheel's name, as the index lists it.
    """
    place: dict[str, Any] = {"wheel": file.name, "sha256": file.sha256, "strength": "mined"}
    if member:
        place["member"] = member
    if line is not None:
        place["line"] = line
    if symbol is not None:
        place["symbol"] = symbol
    return place


def path_of(folder: Path, package: str, version: Version) -> Path:
    """Give the file that holds a release's shard."""
    return folder / "releases" / package / f"{version}.json"


def keep_observed(shard: Shard, path: Path) -> None:
    """Take over what was seen by running the release: reading it again does not tell that."""
    if not path.exists():
        return
    old = json.loads(path.read_text(encoding="utf-8"))
    for key, places in old["evidence"].items():
        if key not in shard.facts and all(place["strength"] == "observed" for place in places):
            shard.say(key, old["facts"][key], *places)


def write(path: Path, text: str) -> bool:
    """Write ``text`` whole or not at all; False where the file already says the same."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return True


def today() -> str:
    """Give the data version of data that changes now: ``YYYY.MM.DD``, UTC."""
    return datetime.now(timezone.utc).strftime("%Y.%m.%d")


def write_index(
    folder: Path, day: str, together: Mapping[str, Sequence[Version]], *, changed: bool
) -> bool:
    """Write ``index.json`` from the shards that lie in ``folder``.

    ``together``: packages whose releases lie in one file, and these releases, ascending.

    ``day`` (``YYYY.MM.DD``) becomes the data version only where a shard changed.
    """
    path = folder / "index.json"
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    packages = {
        found.name: [str(v) for v in sorted(Version(shard.stem) for shard in found.glob("*.json"))]
        for found in (folder / "releases").glob("*")
        if found.is_dir()
    }
    packages |= {package: list(map(str, ordered)) for package, ordered in together.items()}
    packages = dict(sorted(packages.items()))
    content = {"packages": packages, "together": sorted(together)}
    before = {"packages": old.get("packages"), "together": old.get("together", [])}
    same = not changed and before == content
    version = old["version"] if same else day
    text = json.dumps({"version": version, **content}, indent=1) + "\n"
    return write(path, text)
