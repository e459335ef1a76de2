"""The Python sources of a package as syntax trees, by dotted module name. Nothing is imported."""

from __future__ import annotations

import ast
import threading
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PARSER = threading.Lock()


class UnreadableSources(Exception):  # noqa: N818 - it names what was read, not a failure of ours
    """A package whose own module cannot be read; says what is missing."""


@dataclass(frozen=True)
class Module:
    """One module: its dotted name, its member (``a/b.py``), and whether it is a package."""

    name: str
    member: str
    package: bool
    tree: ast.Module

    @classmethod
    def of(cls, member: str, tree: ast.Module) -> Module:
        """Name a module by its member."""
        return cls(module_name(member), member, member.endswith("/__init__.py"), tree)

    def absolute(self, node: ast.ImportFrom) -> str:
        """Give the dotted name of the module that a ``from ... import`` reads."""
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        base = parts[: len(parts) - node.level + self.package]
        return ".".join([*base, node.module] if node.module else base)


class Sources:
    """Modules of one top-level package, by dotted name."""

    def __init__(self, package: str, texts: Mapping[str, str | bytes]) -> None:
        """``texts``: member name -> source text. What does not parse is left out of the modules.

        Members that this Python cannot parse are named in ``unparsed``.
        """
        self.package = package
        self.unparsed: list[str] = []
        found: dict[str, Module] = {}
        for member, text in sorted(texts.items()):
            try:
                tree = parsed(text)
            except UNPARSABLE:
                self.unparsed.append(member)
                continue
            found[module_name(member)] = Module.of(member, tree)
        self.modules: Mapping[str, Module] = found
        if package not in found:
            raise UnreadableSources(f"no readable {package}/__init__.py")

    @cached_property
    def packages(self) -> frozenset[str]:
        """Dotted names of everything that can be imported: modules and the packages above them."""
        names = self._all_names()
        found = set(names)
        for name in names:
            parts = name.split(".")
            found.update(".".join(parts[:end]) for end in range(1, len(parts)))
        return frozenset(found)

    def _all_names(self) -> frozenset[str]:
        return frozenset(self.modules)


def module_name(member: str) -> str:
    """Give the dotted name of a member: ``a.b`` for ``a/b.py`` and for ``a/b/__init__.py``."""
    return member.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What the parser raises: MemoryError stands for its own stack, at deep nesting."""


def parsed(text: str | bytes) -> ast.Module:
    """Parse one source at a time: CPython 3.11 counts the depth of all threads together."""
    with _PARSER, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in others' strings
        return ast.parse(text)


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Walk the statements of a module's own scope: into if, try, with, for; not into functions."""
    for node in body:
        yield node
        if isinstance(node, ast.If) and not _for_type_checkers(node.test):
            yield from statements([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            handlers = [inner for handler in node.handlers for inner in handler.body]
            yield from statements([*node.body, *handlers, *node.orelse, *node.finalbody])
        elif isinstance(node, (ast.With, ast.For, ast.While)):
            yield from statements(node.body)


def _for_type_checkers(test: ast.expr) -> bool:
    return ast.unparse(test).endswith("TYPE_CHECKING")


def dotted(node: ast.expr) -> list[str]:
    """Give the parts of ``a.b.c``; [] for any other expression."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else []
