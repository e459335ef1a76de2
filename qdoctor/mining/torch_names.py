"""Which names of torch came or went between releases: ``matrix/tables/torch_names.json``.

Read from the sources and stubs in each release's default wheel: modules, the public names in the
scope of a public module, all names in that of a module right below ``torch``, the methods of
``torch.Tensor``, and the dtypes, which only a C++ header lists. A private name counts where a
released package is known to ask for it (``matrix/tables/name_askers.json``). What torch makes at
import time by other means is not seen. Only what changed is kept: what every release has says
nothing about one.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from qdoctor import shipped
from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.every_wheel import default_wheel
from qdoctor.mining.index import by_release, configured, wheels
from qdoctor.mining.shard import write
from qdoctor.mining.torch_release import FIRST, PACKAGE
from qdoctor.mining.wheel import open_wheel
from qdoctor.sources.modules import Sources, module_name, parsed
from qdoctor.sources.names import Names

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping
    from pathlib import Path

    from qdoctor.mining.wheel import Wheel

TABLE = "torch_names.json"
_ASKERS = "name_askers.json"
_LEFT_OUT = ("torch/testing/", "torch/include/", "torch/test/", "torch/bin/")
_STUBS = {"torch/_C/__init__.pyi": "torch", "torch/_C/_VariableFunctions.pyi": "torch"}
"""Stubs of what torch takes over into its own scope (torch/__init__.py)."""
_TENSOR = ("Tensor", "TensorBase", "_TensorBase")
_DTYPES = re.compile(r"include/(?:c10|torch/headeronly)/core/ScalarType\.h$")
_DTYPE = re.compile(r"_\([^()]*(?:\([^()]*\))?[^()]*,\s*([A-Z]\w*)\)")
_SCALARS = re.compile(r"(?:Q?U?Int|Bits|Float)\d\w*|BFloat16")
"""Scalar types whose Python name is theirs in lower case (torch/csrc/utils/tensor_dtypes.cpp)."""

_ABOUT = (
    "Names of torch that came or went between releases, by module: the first release that has them "
    "(came), or the first that lacks them again (went). A name of both came and went. What every "
    "release from `first` to `last` has, or has by turns, is not listed."
)


def names_in(texts: Mapping[str, str], asked: Container[str] = ()) -> frozenset[str]:
    """Give the dotted names of torch in ``texts``: member name -> text of a module, stub or header.

    ``asked``: dotted names that count although they are private in a public module.

    Raises ``UnreadableRelease`` where torch's own module is missing.
    """
    if "torch/__init__.py" not in texts:
        raise UnreadableRelease("the wheel has no torch/__init__.py")
    members = {name: text for name, text in texts.items() if name.endswith(".py")}
    read = {name: text for name, text in members.items() if _is_read(module_name(name))}
    scopes = Names(Sources(PACKAGE, read))
    found = set(map(module_name, members))
    for module in map(module_name, read):
        names = scopes.scope(module).names
        dotted = {f"{module}.{name}": _counts(module, name) for name in names}
        found.update(name for name, counts in dotted.items() if counts or name in asked)
    for member, text in texts.items():
        if member in _STUBS or member == "torch/_tensor.py":
            found.update(_stated(_STUBS.get(member), parsed(text)))
        elif _DTYPES.search(member):
            found.update(f"torch.{name.lower()}" for name in _dtypes(text))
    return frozenset(found)


def rows_of(releases: Mapping[Version, frozenset[str]], source: str) -> dict[str, dict[str, Any]]:
    """Give the table's rows: module -> what came and what went at which release, ascending."""
    rows: dict[str, dict[str, Any]] = defaultdict(
        lambda: {"came": {}, "went": {}, "source": source, "strength": "mined"}
    )
    ordered = sorted(releases)
    every = frozenset.intersection(*releases.values())
    for name in sorted(frozenset.union(*releases.values()) - every):
        having = [release for release in ordered if name in releases[release]]
        first, last = ordered.index(having[0]), ordered.index(having[-1])
        if last - first + 1 != len(having):
            continue  # there and gone by turns: a reading that fails rather than a history
        module, _, own = name.rpartition(".")
        if first > 0:
            rows[module]["came"].setdefault(str(having[0]), []).append(own)
        if last + 1 < len(ordered):
            rows[module]["went"].setdefault(str(ordered[last + 1]), []).append(own)
    return {module: rows[module] for module in sorted(rows)}


def table_of(releases: Mapping[Version, frozenset[str]]) -> dict[str, Any]:
    """Give the whole table, ready to be written."""
    ordered = [str(release) for release in sorted(releases)]
    spans = f"{ordered[0]} to {ordered[-1]}, {len(ordered)} releases"
    sources = {"wheels": f"torch wheels for Linux x86_64 ({spans}): .py and .pyi, ScalarType.h"}
    return {
        "about": _ABOUT,
        "columns": {
            "came": "release -> names that it is the first to have",
            "went": "release -> names that it is the first to lack again",
            "source": "key into sources",
            "strength": "documented | mined | inspected | observed",
        },
        "sources": sources,
        "first": ordered[0],
        "last": ordered[-1],
        "rows": rows_of(releases, "wheels"),
    }


def written(table: Mapping[str, Any], path: Path) -> bool:
    """Write the table, one module a line; False where the file says the same already."""
    head = {key: value for key, value in table.items() if key != "rows"}
    rows = (f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in table["rows"].items())
    text = json.dumps(head, indent=1).removesuffix("\n}")
    return write(path, f'{text},\n "rows": {{\n' + ",\n".join(rows) + "\n }\n}\n")


def asked_of_torch(folder: Path) -> frozenset[str]:
    """Return the names of torch that packages are known to ask for; ``folder``: the matrix's."""
    table = json.loads((folder / "tables" / _ASKERS).read_text(encoding="utf-8"))
    named = (row["name"] for row in table["rows"])
    return frozenset(name for name in named if name.startswith(f"{PACKAGE}."))


def texts_of(wheel: Wheel) -> dict[str, str]:
    """Read the members of a torch wheel that ``names_in`` looks at."""
    return {name: wheel.text(name) for name in wheel.names if _is_wanted(name)}


def _is_wanted(member: str) -> bool:
    if _DTYPES.search(member) or member in _STUBS:
        return True
    ours = member.startswith("torch/") and member.endswith(".py")
    return ours and not member.startswith(_LEFT_OUT)


def _is_read(module: str) -> bool:
    """Say whether a module's scope is read: public ones, and those right below torch."""
    parts = module.split(".")
    return len(parts) <= 2 or not any(part.startswith("_") for part in parts[:-1])  # noqa: PLR2004


def _counts(module: str, name: str) -> bool:
    private = "__" if module.count(".") <= 1 else "_"
    return not name.startswith(private)


def _stated(scope: str | None, tree: ast.Module) -> Iterator[str]:
    """Yield what a stub states: in its own scope, and the methods of ``torch.Tensor``."""
    for node in tree.body:
        name = _name(node)
        if scope and name:
            yield f"{scope}.{name}"
        if isinstance(node, ast.ClassDef) and node.name in _TENSOR:
            yield from (f"torch.Tensor.{own}" for inner in node.body if (own := _name(inner)))


def _name(node: ast.stmt) -> str | None:
    """Name what a statement of a stub states; None for nothing, or a special method."""
    target = node.target if isinstance(node, ast.AnnAssign) else None
    name = target.id if isinstance(target, ast.Name) else None
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        name = node.name
    return None if name is None or name.startswith("__") else name


def _dtypes(header: str) -> Iterable[str]:
    return (name for name in _DTYPE.findall(header) if _SCALARS.fullmatch(name))


def main() -> int:
    """Read every release and write the table; 1 where one could not be read."""
    folder = shipped.matrix_folder()
    asked = asked_of_torch(folder)
    found: dict[Version, frozenset[str]] = {}
    try:
        index_url, transport = configured()
        for release, files in by_release(wheels(index_url, PACKAGE, transport)).items():
            if release >= Version(FIRST) and not release.is_prerelease:
                with open_wheel(default_wheel(files), transport) as wheel:
                    found[release] = names_in(texts_of(wheel), asked)
                _say(f"{release}: {len(found[release])} names")
    except UnreadableRelease as error:
        _say(f"error: {error}")
        return 1
    changed = written(table_of(found), folder / "tables" / TABLE)
    _say("written" if changed else "unchanged")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - a program of its own, progress only


if __name__ == "__main__":
    sys.exit(main())
