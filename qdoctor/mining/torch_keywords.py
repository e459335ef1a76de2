"""Which keywords torch's functions and methods took, by release: ``torch_keywords.json``.

Read from the sources and stubs of each release's default wheel: functions and classes of public
modules that take no others, and torch's operators, which only a stub lists. What came
or went together with its function is left out.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from qdoctor import shipped
from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.every_wheel import default_wheel
from qdoctor.mining.hub_classes import Classes, keywords_of
from qdoctor.mining.hub_names import history
from qdoctor.mining.index import by_release, configured, wheels
from qdoctor.mining.model_parts import changed
from qdoctor.mining.shard import write
from qdoctor.mining.torch_release import FIRST, PACKAGE
from qdoctor.mining.wheel import open_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TABLE = "torch_keywords.json"
_STUBS = {"torch/_C/_nn.pyi", "torch/_C/_VariableFunctions.pyi"}
"""Stubs of torch's operators."""
_ASKED = {"torch/utils/_pytree.py", "torch/_tensor.py", "torch/_ops.py"}
"""Private modules whose functions packages are known to call."""
_LEFT_OUT = re.compile(
    r"torch/(?:testing|include|test|bin|ao|onnx|jit|package|quantization|fx/passes"
    r"|distributed/(?:elastic|launcher|rpc|pipeline\w*|_\w+))/|/benchmark"
)
_ABOUT = (
    "Keywords that torch's functions and methods take in some releases only, by function: the "
    "first release that takes them (came), or the first that does not any more (went). What came "
    "with its function or went with it is not listed, nor what a function takes by turns."
)


def keywords_in(texts: Mapping[str, str]) -> frozenset[str]:
    """Give ``function:keyword`` of one release; ``texts``: member -> text of a module or stub.

    Raises ``UnreadableRelease`` where torch's own module is missing.
    """
    if "torch/__init__.py" not in texts:
        raise UnreadableRelease("the wheel has no torch/__init__.py")
    found: set[str] = set()
    classes, defined = Classes(), Counter[str]()
    for text in texts.values():
        tree = ast.parse(text)
        classes.read(tree)
        found.update(f"{on}:{name}" for on, name in keywords_of(tree, every=True))
        own = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        defined.update(one.name for one in own)
        found.update(f"{on}.__init__:{name}" for one in own for on, name in _made_with(one))
    for on, names in classes.constructors():
        if defined[on] == 1:  # of two classes of one name the other's base is not known
            found.update(f"{on}.__init__:{name}" for name in names)
    return frozenset(found)


def _made_with(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Yield (class, keyword) of a class's own constructor, where it takes no others."""
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
            asked = inner.args
            named = (*asked.args[1:], *asked.kwonlyargs) if asked.kwarg is None else ()
            yield from ((node.name, one.arg) for one in named)


def table_of(releases: Mapping[Version, frozenset[str]]) -> dict[str, Any]:
    """Give the whole table, ready to be written."""
    ordered = [str(release) for release in sorted(releases)]
    spans = f"{ordered[0]} to {ordered[-1]}, {len(ordered)} releases"
    return {
        "about": _ABOUT,
        "columns": {
            "came": "release -> keywords that it is the first to take",
            "went": "release -> keywords that it is the first to refuse again",
            "source": "key into sources",
            "strength": "documented | mined | inspected | observed",
        },
        "sources": {
            "wheels": f"torch wheels for Linux x86_64 ({spans}): .py, and .pyi of torch._C"
        },
        "source": "wheels",
        "strength": "mined",
        "rows": changed(history(releases), releases),
    }


def written(table: Mapping[str, Any], path: Path) -> bool:
    """Write the table, one function a line; False where the file says the same already."""
    head = json.dumps({key: value for key, value in table.items() if key != "rows"}, indent=1)
    rows = (f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in table["rows"].items())
    return write(
        path, head.removesuffix("\n}") + ',\n "rows": {\n' + ",\n".join(rows) + "\n }\n}\n"
    )


def is_wanted(member: str) -> bool:
    """Say whether a member of a wheel is read."""
    if member in _STUBS or member in _ASKED:
        return True
    ours = member.startswith("torch/") and member.endswith(".py")
    private = any(part[0] == "_" for part in member.removesuffix("/__init__.py").split("/"))
    return ours and not private and not _LEFT_OUT.search(member)


def _read() -> Iterator[tuple[Version, frozenset[str]]]:
    index_url, transport = configured()
    for release, files in by_release(wheels(index_url, PACKAGE, transport)).items():
        if release >= Version(FIRST) and not release.is_prerelease:
            with open_wheel(default_wheel(files), transport) as wheel:
                names = [name for name in wheel.names if is_wanted(name)]
                yield release, keywords_in({name: wheel.text(name) for name in names})


def main() -> int:
    """Read every release and write the table; 1 where one could not be read."""
    try:
        found = dict(_read())
    except UnreadableRelease as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a program of its own
        return 1
    written(table_of(found), shipped.matrix_folder() / "tables" / TABLE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
