"""Builds of torch that lie beside the package index: from the table of documented builds.

Their wheels are not on the index that is mined, so what they hold is what PyTorch's build scripts
and release notes say: ``matrix/tables/torch_builds.json``, each row with its source.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from packaging.specifiers import SpecifierSet

from qdoctor import shipped
from qdoctor.mining.errors import UnreadableRelease

if TYPE_CHECKING:
    from pathlib import Path

    from qdoctor.mining.shard import Shard

_TABLE = "torch_builds.json"
_STATED = ("sm", "windows_sm", "aarch64_sm", "platforms", "strength")


def say_builds(shard: Shard, folder: Path | None = None) -> None:
    """State the documented CUDA builds of a release other than the index's default one."""
    path = (folder or shipped.matrix_folder()) / "tables" / _TABLE
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnreadableRelease(f"the table of torch builds cannot be read: {error}") from error
    default = "cu" + str(shard.facts.get("cuda", "")).replace(".", "")
    rows = [
        row
        for row in table["rows"]
        if SpecifierSet(row["spec"]).contains(shard.version) and row["tag"] != default
    ]
    if rows:
        builds = {row["tag"]: {k: row[k] for k in _STATED if k in row} for row in rows}
        shard.say("builds", builds, *_places(table["sources"], rows))


def _places(sources: dict[str, str], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    keys = dict.fromkeys(row["source"] for row in rows)
    return [{"source": sources[key], "strength": "documented"} for key in keys]
