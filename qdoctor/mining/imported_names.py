"""Which packages import which names of one another: ``matrix/tables/imported_names.json``.

Read from the Python files of released wheels and sources that lie in a folder: what a module
imports as it is imported itself. An import inside a function, a condition or a ``try`` may never
happen, or fail without harm: it does not count. Only names are kept that some release of the asked
package lacks (``hub_names``, ``torch_names``), and of the asking package's releases only the first
that imports a name and the first that does so no more.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from qdoctor import shipped
from qdoctor.mining.other_packages import OTHERS
from qdoctor.mining.python_files import archives, python_files, released
from qdoctor.mining.shard import write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from packaging.version import Version

TABLE = "imported_names.json"
ASKED = ("hub_names", "torch_names")
"""The tables that know which names of a package came or went."""
_LEFT_OUT = re.compile(r"/(?:tests?|testing|test_utils|examples?|benchmarks?|docs?)/|/dummy_")
_ABOUT = (
    "Names that packages import as they are imported themselves, of packages that have them in "
    "some releases only: the first release that imports a name (since; absent: the first that was "
    "looked at does) and the first that does so no more (without; absent: the last one still "
    "does). Between two releases that were looked at (`releases`) it may have come or gone at any."
)


def imported_by(texts: Mapping[str, str]) -> frozenset[str]:
    """Give the dotted names that the files import without asking; ``texts``: member -> its text."""
    return frozenset(
        name
        for member, text in texts.items()
        if not _LEFT_OUT.search(member)
        for name in _imports(text)
    )


def _imports(text: str) -> Iterator[str]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return  # made for another Python than this one
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (node.module, *(f"{node.module}.{one.name}" for one in node.names))
        elif isinstance(node, ast.Import):
            yield from (one.name for one in node.names)


def changing(tables: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Give the dotted names that came or went; ``tables``: those of ``ASKED``."""
    found: set[str] = set()
    for table in tables:
        for key, row in table["rows"].items():
            owners = row.get("imports", {key: row})
            for owner, known in owners.items():
                every = (name for when in ("came", "went") for name in known[when].values())
                found.update(f"{owner}.{name}" for names in every for name in names)
    return frozenset(found)


def table_of(
    found: Mapping[str, Mapping[Version, frozenset[str]]], names: frozenset[str]
) -> dict[str, Any]:
    """Give the whole table; ``found``: package -> release -> ``imported_by``."""
    return {
        "about": _ABOUT,
        "columns": {
            "releases": "those that were looked at, ascending",
            "names": "dotted name -> since and without, where there is such a release",
            "source": "key into sources",
            "strength": "documented | mined | inspected | observed",
        },
        "sources": {
            "wheels": "the packages' wheels or sources, all .py files; which, `releases` say"
        },
        "source": "wheels",
        "strength": "mined",
        "rows": {
            package: {
                "releases": [str(one) for one in sorted(releases)],
                "names": _spans(package, releases, names),
            }
            for package, releases in sorted(found.items())
        },
    }


def _spans(
    package: str, releases: Mapping[Version, frozenset[str]], names: frozenset[str]
) -> dict[str, dict[str, str]]:
    """Give since and without of each name; what is imported by turns is left out."""
    ordered = sorted(releases)
    own = f"{OTHERS.get(package, package.replace('-', '_'))}."
    rows: dict[str, dict[str, str]] = defaultdict(dict)
    for name in sorted(frozenset.union(*releases.values()) & names):
        having = [ordered.index(one) for one in ordered if name in releases[one]]
        if name.startswith(own) or having[-1] - having[0] + 1 != len(having):
            continue
        rows[name] |= {"since": str(ordered[having[0]])} if having[0] else {}
        last = having[-1] + 1 == len(ordered)
        rows[name] |= {} if last else {"without": str(ordered[having[-1] + 1])}
    return dict(rows)


def written(table: Mapping[str, Any], path: Path) -> bool:
    """Write the table, one name a line; False where the file says the same already."""
    head = json.dumps({key: value for key, value in table.items() if key != "rows"}, indent=1)
    blocks = []
    for package, row in table["rows"].items():
        lines = [f"    {json.dumps(one)}: {json.dumps(at)}" for one, at in row["names"].items()]
        releases = json.dumps(row["releases"])
        names = "{\n" + ",\n".join(lines) + "\n   }" if lines else "{}"
        blocks.append(
            f'  {json.dumps(package)}: {{\n   "releases": {releases},\n   "names": {names}\n  }}'
        )
    text = head.removesuffix("\n}") + ',\n "rows": {\n' + ",\n".join(blocks) + "\n }\n}\n"
    return write(path, text)


def texts_of(path: Path) -> dict[str, str]:
    """Read the Python files of a wheel or of sources that belong to the package's own folder."""
    name, _ = released(path)
    inside = f"{OTHERS.get(name, name.replace('-', '_'))}/"
    found = python_files(path, lambda member: member.removeprefix("src/").startswith(inside))
    return dict(found)


def main(arguments: list[str]) -> int:
    """Read the archives of a folder and write the table."""
    tables = shipped.matrix_folder() / "tables"
    read = (json.loads((tables / f"{one}.json").read_text(encoding="utf-8")) for one in ASKED)
    names = changing(read)
    found: dict[str, dict[Version, frozenset[str]]] = defaultdict(dict)
    for path in archives(arguments[0]):
        package, version = released(path)
        found[package][version] = imported_by(texts_of(path)) & names
    written(table_of(found, names), tables / TABLE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
