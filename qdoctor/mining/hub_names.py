"""Which names of Hugging Face's packages came or went: ``matrix/tables/hub_names.json``.

And which keywords of triton's functions, and what others import from some packages more.

Read from the Python files of released wheels and sources that lie in a folder: what can be imported
from each module, the members of each class, and the keywords of each function that takes no others.
Classes of transformers' models are read by their own names, and for what they set on themselves;
what else their instances have comes from the base classes. Only what changed is kept, between the
releases that were looked at.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from qdoctor import shipped
from qdoctor.mining.hub_classes import Classes, keywords_of
from qdoctor.mining.launch_options import LAUNCH, launch_options
from qdoctor.mining.model_parts import MODELS, changed, parts_in
from qdoctor.mining.other_packages import OTHERS, read_of
from qdoctor.mining.python_files import archives, python_files, released
from qdoctor.mining.shard import write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from packaging.version import Version

TABLE = "hub_names.json"
_LEFT_OUT = re.compile(r"/(?:test_utils|testing|commands|cli|kernels|benchmark|sagemaker)/|/dummy_")
_MODELS = re.compile(r"^(?:transformers|diffusers)/(?:models/|pipelines/\w+/)")
_CALLED = {
    "triton": re.compile(
        r"triton/(?:language/(?:core|standard|math|semantic|extra/\w+|extra/cuda/\w+)"
        r"|runtime/(?:jit|autotuner|driver|cache)|compiler(?:/\w+)?|compiler/backends/cuda"
        r"|backends/compiler|backends/nvidia/compiler|testing)\.py$"
    )
}
"""The files whose functions others call, where those of the rest are named alike."""
_AUTO = ("/models/auto/configuration_auto.py", "/models/auto/auto_mappings.py")
_MODEL_TYPE = re.compile(r"""^ +\(?["']([a-z][\w.-]*)["'](?:,|:) ["']\w+Config["']""", re.MULTILINE)
_KINDS = ("imports", "members", "keywords", "model_types")
_OF_PARTS = {"parts": "members", "model_modules": "imports"}
"""What is read of models' files -> the kind it is of in the table."""
_OF_OTHER_PACKAGES = {"calls": "keywords"}
"""What is kept of other packages beside what can be imported, likewise."""
_ONLY_KEYWORDS = {"bitsandbytes", "triton"}
"""Packages whose other names the matrix knows better, from each release's own file."""
_DISTRIBUTIONS = {folder: name for name, folder in OTHERS.items()}
_LAZY = "define_import_structure"
_ONE_LACKS = 1
"""How many releases may lack what those before and after them have."""
_LISTED = re.compile(r"^__all__ = \[([^\]]*)\]", re.MULTILINE)
_WORD = re.compile(r"[A-Za-z_]\w*$")
_FAMILIES = (
    ("transformers", r"\w*(?:For[A-Z]\w+|LMHeadModel|PreTrainedModel|Model)", "PreTrainedModel"),
    ("transformers", r"\w*Config", "PretrainedConfig"),
    ("transformers", r"\w*Tokenizer(?:Fast)?", "PreTrainedTokenizerBase"),
    ("transformers", r"\w*Trainer", "Trainer"),
    ("transformers", r"\w*Cache", "Cache"),
    ("peft", r"Peft\w+", "PeftModel"),
    ("diffusers", r"\w*Pipeline", "DiffusionPipeline"),
)
"""What instances of classes that are not listed have, they have from these."""
_MISMATCH, _RENAMED = "accelerate-transformers-mismatch", "api-keyword-renamed"
_RULES: dict[str, dict[str, tuple[str, ...]]] = {
    "accelerate": {"imports": (_MISMATCH,), "members": (_MISMATCH,), "keywords": (_MISMATCH,)},
    "huggingface_hub": {
        "imports": (_MISMATCH,),
        "members": (_MISMATCH,),
        "keywords": (_RENAMED,),
    },
    "optimum": {"imports": (_MISMATCH,), "keywords": (_RENAMED,)},
    "tokenizers": {"imports": (_MISMATCH,), "keywords": (_RENAMED,)},
    "triton": {"keywords": ("triton-too-old-for-package", "triton-api-moved-other")},
    "peft": {
        "imports": ("peft-too-old", _MISMATCH),
        "members": ("peft-too-old", _RENAMED),
        "keywords": ("peft-too-old", _RENAMED),
    },
}
_ELSEWHERE: dict[str, tuple[str, ...]] = {
    "imports": (_MISMATCH,),
    "members": (_RENAMED,),
    "keywords": (_RENAMED,),
}
_OF_OTHERS: dict[str, tuple[str, ...]] = dict.fromkeys(_ELSEWHERE, (_RENAMED,))
"""Which rule speaks of a name that is new, and of one that is gone."""
_ABOUT = (
    "Names of Hugging Face's packages, and keywords of triton's functions, that came or went "
    "between the releases that were looked at: "
    "the first that has them (came), or the first that lacks them again (went). `imports` by "
    "module, `members` by class, `keywords` by function, `model_types` that configurations name. "
    "`families`: whose members a class has that is not listed. Between two releases that were "
    "looked at (`releases`) a name may have come or gone at any."
)


def names_in(texts: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Give the names of one release: kind -> ``owner:name``; ``texts``: member -> its text."""
    kinds = (*_KINDS, *_OF_PARTS, *_OF_OTHER_PACKAGES)
    found: dict[str, set[str]] = {kind: set() for kind in kinds}
    classes = Classes()
    for member, text in texts.items():
        if MODELS.match(member):
            found["parts"].update(parts_in(text))
            module = member.removesuffix(".py").replace("/", ".")
            inside = (name for name in _scope(_tree(text)) if not name.startswith("__"))
            found["model_modules"].update(f"{module}:{name}" for name in inside)
            continue
        if member.endswith(_AUTO):
            found["model_types"].update(f":{one}" for one in _MODEL_TYPE.findall(text))
            continue
        tree = _tree(text)
        module = member.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        classes.read(tree)
        parent, _, leaf = module.rpartition(".")
        found["imports"].update([f"{parent}:{leaf}"] if parent else [])
        top = "." not in module
        own = set(_scope(tree)) | (set(_strings(tree)) if top else set())
        found["imports"].update(f"{module}:{name}" for name in own if not name.startswith("__"))
        found["keywords"].update(f"{on}:{name}" for on, name in keywords_of(tree))
        found["calls"].update(f"{on}:{name}" for on, name in keywords_of(tree, every=True))
    for on, names in classes.constructors():
        for kind in ("keywords", "calls"):
            found[kind].update(f"{on}.__init__:{name}" for name in names)
    found["members"].update(f"{on}:{name}" for on, name in classes.members())
    found["keywords"].update(f"{LAUNCH}:{name}" for name in launch_options(texts))
    return {kind: frozenset(names) for kind, names in found.items()}


def _public(names: dict[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """Leave out what is private by its name: nobody else asks for it."""
    return {
        kind: frozenset(one for one in some if not one.partition(":")[2].startswith("_"))
        for kind, some in names.items()
    }


def history(releases: Mapping[Version, frozenset[str]]) -> dict[str, dict[str, Any]]:
    """Give owner -> what came and went at which release; what is there by turns is left out.

    What a single release lacks between others that have it was taken out too early: it stayed.
    """
    rows: dict[str, dict[str, Any]] = defaultdict(lambda: {"came": {}, "went": {}})
    ordered = sorted(releases)
    every = frozenset.intersection(*releases.values())
    for full in sorted(frozenset.union(*releases.values()) - every):
        having = [ordered.index(one) for one in ordered if full in releases[one]]
        if having[-1] - having[0] + 1 > len(having) + _ONE_LACKS * (len(having) > _ONE_LACKS + 1):
            continue
        owner, _, name = full.partition(":")
        if having[0] > 0:
            rows[owner]["came"].setdefault(str(ordered[having[0]]), []).append(name)
        if having[-1] + 1 < len(ordered):
            rows[owner]["went"].setdefault(str(ordered[having[-1] + 1]), []).append(name)
    return {owner: rows[owner] for owner in sorted(rows)}


def lasting(releases: Mapping[Version, frozenset[str]]) -> dict[str, list[str]]:
    """Give the names that every release has, by their owner: of packages themselves only."""
    rows: dict[str, list[str]] = defaultdict(list)
    for full in sorted(frozenset.intersection(*releases.values())):
        owner, _, name = full.partition(":")
        if "." not in owner and name[:1] != "_":
            rows[owner].append(name)
    return dict(rows)


def table_of(found: Mapping[str, Mapping[Version, dict[str, frozenset[str]]]]) -> dict[str, Any]:
    """Give the whole table; ``found``: package -> release -> ``names_in``."""
    packages: dict[str, dict[str, Any]] = {}
    for package, releases in sorted(found.items()):
        kinds = {
            kind: history({release: names[kind] for release, names in releases.items()})
            if _is_kept(package, kind)
            else {}
            for kind in _KINDS
        }
        named = {"distribution": _DISTRIBUTIONS[package]} if package in _DISTRIBUTIONS else {}
        for read, kind in (_OF_OTHER_PACKAGES if named else _OF_PARTS).items():
            own = {release: names[read] for release, names in releases.items()}
            kinds[kind] = {**changed(history(own), own), **kinds[kind]}
        imports = {release: names["imports"] for release, names in releases.items()}
        packages[package] = {
            **named,
            "releases": [str(one) for one in sorted(releases)],
            "always": lasting(imports) if _is_kept(package, "imports") else {},
            **kinds,
        }
    return {
        "about": _ABOUT,
        "columns": {
            "releases": "those that were looked at, ascending",
            "always": "what can be imported of the package itself in all of them",
            "distribution": "what pip installs, where the package's folder is named otherwise",
            "came": "release -> names that it is the first to have",
            "went": "release -> names that it is the first to lack again",
            "source": "key into sources",
            "strength": "documented | mined | inspected | observed",
        },
        "sources": {
            "wheels": "the packages' wheels or sources, all .py files; which, `releases` say"
        },
        "source": "wheels",
        "strength": "mined",
        "rules": {package: _rules(package) for package in sorted(found)},
        "families": [
            {"package": package, "pattern": pattern, "class": owner}
            for package, pattern, owner in _FAMILIES
        ],
        "rows": packages,
    }


def _is_kept(package: str, kind: str) -> bool:
    if package in _ONLY_KEYWORDS:
        return kind == "keywords" and package not in _DISTRIBUTIONS
    return kind == "imports" or package not in _DISTRIBUTIONS


def _rules(package: str) -> dict[str, dict[str, str]]:
    others = _OF_OTHERS if package in _DISTRIBUTIONS else _ELSEWHERE
    kinds: dict[str, tuple[str, ...]] = _RULES.get(package, others)
    return {kind: {"came": rules[0], "went": rules[-1]} for kind, rules in kinds.items()}


def written(table: Mapping[str, Any], path: Path) -> bool:
    """Write the table, one owner of names a line; False where the file says the same already."""
    head = json.dumps({key: value for key, value in table.items() if key != "rows"}, indent=1)
    blocks = []
    for package, kinds in table["rows"].items():
        parts = [
            f"   {json.dumps(key)}: {json.dumps(kinds[key])}"
            for key in ("distribution", "releases", "always")
            if key in kinds
        ]
        for kind in _KINDS:
            lines = [f"    {json.dumps(on)}: {json.dumps(row)}" for on, row in kinds[kind].items()]
            parts.append(f'   "{kind}": {{\n' + ",\n".join(lines) + "\n   }")
        blocks.append(f"  {json.dumps(package)}: {{\n" + ",\n".join(parts) + "\n  }")
    text = head.removesuffix("\n}") + ',\n "rows": {\n' + ",\n".join(blocks) + "\n }\n}\n"
    return write(path, text)


def _tree(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return ast.Module([], [])  # made for another Python than this one


def _scope(tree: ast.Module) -> Iterator[str]:
    """Yield what can be imported from a module: what it defines, assigns or imports itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield from (one.asname or one.name for one in node.names if one.name != "*")
    for node in _flat(tree.body):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (one.id for one in targets if isinstance(one, ast.Name))


def _flat(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        for field in ("body", "orelse", "finalbody"):
            if isinstance(node, (ast.If, ast.Try)):
                yield from _flat(getattr(node, field, []))


def _strings(tree: ast.Module) -> Iterator[str]:
    """Yield the words among a module's strings: a lazy package lists its names as strings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from [node.value] if _WORD.match(node.value) else []


def texts_of(path: Path) -> dict[str, str]:
    """Read the Python files of a wheel or of sources; models' own are read for ``_OF_PARTS`` only.

    Their ``__all__`` is taken for the package's own list where it makes its list so (``_LAZY``).
    """
    package = _package_of(path)[0]
    found = {name.removeprefix("src/"): text for name, text in python_files(path, _wanted(package))}
    if package in _DISTRIBUTIONS:
        return read_of(package, found)
    kept = (name for name in found if MODELS.match(name) or not _is_a_model(name))
    texts = {name: found[name] for name in kept}
    top = f"{package}/__init__.py"
    if _LAZY in texts.get(top, ""):
        listed = (_LISTED.findall(text) for name, text in found.items() if _MODELS.match(name))
        texts[top] += "".join(f"\n[{names}]" for found_in in listed for names in found_in)
    return texts


def _wanted(package: str) -> Callable[[str], bool]:
    called = _CALLED.get(package, re.compile(""))
    inside = re.compile(rf"(?:src/)?{package}/")

    def wanted(name: str) -> bool:
        return bool(inside.match(name)) and not _LEFT_OUT.search(name) and bool(called.match(name))

    return wanted


def _is_a_model(name: str) -> bool:
    return not name.endswith(_AUTO) and bool(_MODELS.match(name))


def _package_of(path: Path) -> tuple[str, Version]:
    """Give the folder that holds the package, and the release."""
    name, version = released(path)
    return OTHERS.get(name, name.replace("-", "_")), version


def main(arguments: list[str]) -> int:
    """Read the wheels of a folder and write the table."""
    found: dict[str, dict[Version, dict[str, frozenset[str]]]] = defaultdict(dict)
    for path in archives(arguments[0]):
        package, version = _package_of(path)
        names = names_in(texts_of(path))
        found[package][version] = _public(names) if package in _DISTRIBUTIONS else names
    written(table_of(found), shipped.matrix_folder() / "tables" / TABLE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
