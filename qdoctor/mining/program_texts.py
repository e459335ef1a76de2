"""What packages say where the environment is well: ``matrix/tables/program_texts.json``.

Read from the Python files of released wheels that lie in a folder: the texts of warnings and log
lines (notices), and those of exceptions that speak of arguments and data (refusals). What speaks of
installing, releases or hardware is left out: that is for a signature of its own. Of a text that is
put together at run time its longest constant part is kept.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import parse_wheel_filename

from qdoctor import shipped
from qdoctor.mining.shard import write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TABLE = "program_texts.json"
FEWEST = 6
"""Words that a text has at least: shorter ones are anybody's."""
_MOST = 16
_LEFT_OUT = re.compile(
    r"/(?:test_utils|testing|tests?|commands|cli|benchmarks?|prototype)/|/dummy_|convert_"
)
_MODELS = re.compile(r"^(?:transformers|diffusers)/(?:models/(?!modeling_utils)|pipelines/\w+/)")
_NOTED = {"warn", "warning", "warning_once", "warning_advice", "info", "info_once"}
_REFUSED = {"ValueError", "TypeError", "KeyError", "NotImplementedError", "AttributeError"}
_OTHERS = re.compile(
    r"install|version|upgrad|updat|downgrad|cuda|gpu|device|driver|torch\b|require|import|compil"
    r"|support|availab|slow|fall|kernel|librar|hardware|memory|not found|cannot find|fail|error"
    r"|bfloat|bf16|fp16|fp8|float16|half precision|quantiz\w+ method|accelerat|bitsandbytes",
    re.IGNORECASE,
)
_WORD = re.compile(r"[a-z0-9_]+")
_HOLE = "\0"


def texts_in(source: str) -> Iterator[tuple[str, str]]:
    """Yield ("notices" or "refusals", text) of each text of a module that says enough."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        kind, said = _said(node)
        words = _longest(said) if said else []
        text = " ".join(words)
        if kind and len(words) >= FEWEST and not _OTHERS.search(text):
            yield kind, text


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, as texts are kept."""
    return _WORD.findall(text.lower())


def _said(node: ast.AST) -> tuple[str, str | None]:
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
        name = getattr(node.exc.func, "id", "")
        return ("refusals" if name in _REFUSED else ""), _constant(node.exc.args[0])
    if isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Attribute):
        return ("notices" if node.func.attr in _NOTED else ""), _constant(node.args[0])
    return "", None


def _constant(node: ast.expr) -> str | None:
    """Return what is constant of a text, a hole for the rest; None for no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[sdrfi]|\{[^{}]*\}", _HOLE, node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_constant(one) or _HOLE for one in node.values)
    if isinstance(node, ast.BinOp):
        return f"{_constant(node.left) or _HOLE}{_constant(node.right) or _HOLE}"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return _constant(node.func.value) if node.func.attr == "format" else None
    return None


def _longest(text: str) -> list[str]:
    """Return the words of the longest part without a hole; at most some, from its beginning on."""
    return max((words_of(part) for part in text.split(_HOLE)), key=len)[:_MOST]


def read(path: Path) -> dict[str, set[str]]:
    """Read the texts of a wheel, by kind."""
    found: dict[str, set[str]] = {"notices": set(), "refusals": set()}
    with zipfile.ZipFile(path) as wheel:
        for name in wheel.namelist():
            if name.endswith(".py") and not _LEFT_OUT.search(name) and not _MODELS.match(name):
                for kind, text in texts_in(wheel.read(name).decode("utf-8", "replace")):
                    found[kind].add(text)
    return found


def table_of(found: Mapping[str, dict[str, set[str]]], spans: Mapping[str, str]) -> dict[str, Any]:
    """Give the whole table: package -> its texts; what several say is kept once."""
    seen: set[str] = set()
    rows: dict[str, Any] = {}
    for package, kinds in sorted(found.items()):
        fresh = {kind: sorted(texts - seen) for kind, texts in kinds.items()}
        seen.update(*kinds.values())
        rows[package] = {**fresh, "source": package, "strength": "mined"}
    return {
        "about": "What packages say where nothing is wrong with the environment: notices (warnings "
        "and log lines) and refusals (exceptions about arguments and data). Words in lower case, "
        "the longest constant part of each text.",
        "columns": {
            "notices": "texts after which the program goes on",
            "refusals": "texts of exceptions about what the program passes",
            "source": "key into sources",
            "strength": "documented | mined | inspected | observed",
        },
        "sources": {package: f"wheels of {package} ({span})" for package, span in spans.items()},
        "rows": rows,
    }


def main(arguments: list[str]) -> int:
    """Read the wheels of a folder and write the table."""
    found: dict[str, dict[str, set[str]]] = defaultdict(
        lambda: {"notices": set(), "refusals": set()}
    )
    releases: dict[str, list[str]] = defaultdict(list)
    for path in sorted(Path(arguments[0]).glob("*.whl")):
        name, version, *_ = parse_wheel_filename(path.name)
        releases[name].append(str(version))
        for kind, texts in read(path).items():
            found[name][kind] |= texts
    table = table_of(found, {name: ", ".join(some) for name, some in releases.items()})
    text = json.dumps(table, indent=1, ensure_ascii=False) + "\n"
    write(shipped.matrix_folder() / "tables" / TABLE, text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
