"""What the parts of transformers' models hold: ``LlamaAttention`` -> ``num_heads``, by release.

Other packages patch these classes and read their values. Read from ``modeling_*.py``: what a class
and its bases in the same file set on themselves. What came with its class, or went with it, is left
out; so are methods, which may have moved to a base elsewhere.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MODELS = re.compile(r"transformers/models/\w+/modeling_(?!tf_|flax_)\w+\.py$")
_PARTS = re.compile(
    r"[A-Z]\w*(?:Model|Attention|FlashAttention2|Layer|Block|MLP|RotaryEmbedding|RMSNorm|ForCausalLM"
    r"|ForConditionalGeneration|LMHeadModel|Experts|MoE|Router|VisionTransformer\w*|Projector)"
)
_REGISTERED = {"register_buffer", "register_parameter"}


def parts_in(text: str) -> Iterator[str]:
    """Yield ``class:name`` of what the parts of a file hold; nothing for another Python's file."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    classes = {one.name: one for one in tree.body if isinstance(one, ast.ClassDef)}
    for name in classes:
        if _PARTS.fullmatch(name):
            for held in set(_held(name, classes, frozenset())):
                yield f"{name}:{held}"


def _held(name: str, classes: Mapping[str, ast.ClassDef], seen: frozenset[str]) -> Iterator[str]:
    if name in seen or name not in classes:
        return
    for node in ast.walk(classes[name]):
        held = _on_self(node)
        if held is not None and not held.startswith("_"):
            yield held
    for base in classes[name].bases:
        yield from _held(getattr(base, "id", ""), classes, seen | {name})


def _on_self(node: ast.AST) -> str | None:
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        return node.attr if getattr(node.value, "id", "") == "self" else None
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in _REGISTERED and node.args:
        named = node.args[0]
        said = named.value if isinstance(named, ast.Constant) else None
        return said if isinstance(said, str) else None
    return None


def changed(rows: Mapping[str, Any], releases: Mapping[Version, frozenset[str]]) -> dict[str, Any]:
    """Leave out of the history of all parts what came or went with its class, and empty rows."""
    there = {
        release: {one.partition(":")[0] for one in names} for release, names in releases.items()
    }
    kept = {}
    for owner, row in rows.items():
        having = sorted(release for release, owners in there.items() if owner in owners)
        came = {one: names for one, names in row["came"].items() if Version(one) != having[0]}
        went = {one: names for one, names in row["went"].items() if Version(one) <= having[-1]}
        if came or went:
            kept[owner] = {"came": came, "went": went}
    return kept
