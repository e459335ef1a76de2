"""Makes ``matrix/tables/program_texts.json`` anew from the archives that lie in a folder.

Of each wheel or source archive are read: its Python files (``program_texts``), the checks in its
C++ and CUDA sources (``checks_in_cpp``), and those in torch's compiled libraries
(``native_texts``).
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from typing import TYPE_CHECKING

from qdoctor import shipped
from qdoctor.mining import checks_in_cpp, native_texts
from qdoctor.mining.program_texts import TABLE, kept_of, read, table_of
from qdoctor.mining.python_files import archives, members, released
from qdoctor.mining.shard import write

if TYPE_CHECKING:
    from pathlib import Path

    from packaging.version import Version

_LEFT_OUT = re.compile(r"(?:^|/)(?:tests?|benchmarks?|examples?|third_party)/|^torch/include/")
"""Sources that are not the package's own, and headers whose checks its libraries hold."""


def texts_of(path: Path) -> dict[str, set[str]]:
    """Read all texts of an archive, by kind, as ``program_texts.read`` gives those of Python."""
    found = read(path)
    for _, data in members(path, _is_source):
        found["shapes"].update(checks_in_cpp.shapes_in(data.decode("utf-8", "replace")))
    for _, data in members(path, lambda name: native_texts.MEMBERS.search(name) is not None):
        found["shapes"].update(native_texts.shapes_in(data))
    return found


def _is_source(name: str) -> bool:
    return name.endswith(checks_in_cpp.SOURCES) and not _LEFT_OUT.search(name)


def main(arguments: list[str]) -> int:
    """Read the archives of a folder and write the table."""
    found: dict[str, list[dict[str, set[str]]]] = defaultdict(list)
    releases: dict[str, list[Version]] = defaultdict(list)
    for path in archives(arguments[0]):
        name, version = released(path)
        releases[name].append(version)
        found[name].append(texts_of(path))
    kept = {name: kept_of(name, texts) for name, texts in found.items()}
    spans = {name: ", ".join(map(str, sorted(some))) for name, some in releases.items()}
    text = json.dumps(table_of(kept, spans), indent=1, ensure_ascii=False) + "\n"
    write(shipped.matrix_folder() / "tables" / TABLE, text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
