"""What the classes and functions of a package have: members, and the keywords of a call."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_ON_MODELS = {"model", "self", "peft_model", "obj"}
"""What modules call an instance of the base model when they give it an attribute."""
_MODEL = "PreTrainedModel"
BASES = {
    _MODEL,
    "PretrainedConfig",
    "PreTrainedTokenizerBase",
    "Trainer",
    "PeftModel",
    "DiffusionPipeline",
}
"""Classes that stand for those derived from them."""
CALLED = BASES | {"Accelerator"}
"""Classes whose methods packages call on one another."""


@dataclass
class Class:
    """One class: its bases by their last names, its own members and annotated fields in order."""

    bases: list[str] = field(default_factory=list)
    members: set[str] = field(default_factory=set)
    fields: list[str] = field(default_factory=list)
    dataclass: bool = False
    init: ast.FunctionDef | None = None


class Classes:
    """All classes of a package by their names; two of one name count as one."""

    def __init__(self) -> None:
        """Start with none."""
        self._found: dict[str, Class] = {}

    def read(self, tree: ast.Module) -> None:
        """Add the classes of a module, and what it sets on models."""
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                self._add(node)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                on = node.value.id if isinstance(node.value, ast.Name) else ""
                if on in _ON_MODELS - {"self"}:
                    self._found.setdefault(_MODEL, Class()).members.add(node.attr)

    def _add(self, node: ast.ClassDef) -> None:
        known = self._found.setdefault(node.name, Class())
        known.bases += [_last(base) for base in node.bases]
        known.dataclass = known.dataclass or any(
            "dataclass" in _last(one) for one in node.decorator_list
        )
        for inner in node.body:
            if isinstance(inner, _FUNCTIONS):
                known.members.add(inner.name)
                known.members.update(_set_on_self(inner))
                if inner.name == "__init__" and isinstance(inner, ast.FunctionDef):
                    known.init = inner
            elif isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
                known.fields.append(inner.target.id)
            elif isinstance(inner, ast.Assign):
                known.members.update(one.id for one in inner.targets if isinstance(one, ast.Name))

    def members(self) -> Iterator[tuple[str, str]]:
        """Yield (class, member); of base classes what they inherit in the package, too."""
        for name, own in self._found.items():
            if name.startswith("_"):
                continue
            for one in self._line(name) if name in BASES else (own,):
                for member in (*one.members, *one.fields):
                    if not member.startswith("__"):
                        yield name, member

    def constructors(self) -> Iterator[tuple[str, list[str]]]:
        """Yield (class, keywords of its constructor) where it takes no others."""
        for name in self._found:
            if name.startswith("_"):
                continue
            line = list(self._line(name))
            first = next((one for one in line if one.init or one.dataclass), None)
            if first is None:
                continue
            if first.init is not None and not first.dataclass:
                if first.init.args.kwarg is None:
                    yield name, _keywords(first.init)
            else:
                yield name, [one for known in line for one in known.fields]

    def _line(self, name: str, seen: frozenset[str] = frozenset()) -> Iterator[Class]:
        if name in seen or name not in self._found:
            return
        known = self._found[name]
        yield known
        for base in known.bases:
            yield from self._line(base, seen | {name})


def keywords_of(tree: ast.Module, *, every: bool = False) -> Iterator[tuple[str, str]]:
    """Yield (function, keyword) of a module's functions and methods that take no others.

    ``every``: private ones too, and methods of all public classes, not only of ``CALLED``.
    """
    for node in tree.body:
        if isinstance(node, _FUNCTIONS) and node.args.kwarg is None:
            asked = every or node.name[0] != "_"
            yield from ((node.name, one) for one in (_keywords(node) if asked else ()))
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, _FUNCTIONS) and _is_called(node, inner, every=every):
                    yield from ((f"{node.name}.{inner.name}", one) for one in _keywords(inner))


def _is_called(
    node: ast.ClassDef, method: ast.FunctionDef | ast.AsyncFunctionDef, *, every: bool
) -> bool:
    private = "__" if every else "_"
    open_ = method.args.kwarg is not None or method.name.startswith(private)
    asked = node.name in CALLED or (every and not node.name.startswith("_"))
    return asked and not open_


def _keywords(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    asked = node.args
    every = [*asked.posonlyargs, *asked.args, *asked.kwonlyargs]
    return [one.arg for one in every if one.arg not in {"self", "cls"}]


def _set_on_self(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if (
            isinstance(inner, ast.Attribute)
            and isinstance(inner.ctx, ast.Store)
            and isinstance(inner.value, ast.Name)
            and inner.value.id == "self"
        ):
            yield inner.attr


def _last(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        return _last(node.func)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
