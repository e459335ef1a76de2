"""Which dotted names of another package a package's sources use, and when.

A name is found through its imports: after ``import triton.language as tl``, ``tl.math.llrint`` is
``triton.language.math.llrint``. An attribute of an imported function or object is that object's
own business: after ``from triton.runtime import driver``, ``driver.active`` is
``triton.runtime.driver``.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qdoctor.sources.modules import Module, Sources, dotted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, order=True)
class Use:
    """One place where ``name`` is used."""

    name: str
    member: str
    line: int


class Uses:
    """Uses of the package ``other`` in ``sources``."""

    def __init__(self, sources: Sources, other: str) -> None:
        """``other`` is the top-level package whose names are looked for."""
        self._sources = sources
        self._other = other
        self._known: dict[str, dict[str, str]] = {}

    def everywhere(self) -> list[Use]:
        """Every use in every module, sorted."""
        found = {use for m in self._sources.modules.values() for use in self.under(m, [m.tree])}
        return sorted(found)

    def under(self, module: Module, nodes: Sequence[ast.AST]) -> Iterator[Use]:
        """Uses below ``nodes`` of a module, each dotted name at its full length."""
        return (use for use, _ in self.through(module, nodes))

    def through(self, module: Module, nodes: Sequence[ast.AST]) -> Iterator[tuple[Use, str]]:
        """Uses below ``nodes``, each with the local name it goes through; ``""`` for an import."""
        if module.name not in self._known:
            self._known[module.name] = self._aliases(module)
        aliases = self._known[module.name]
        for node in nodes:
            yield from self._below(module, node, aliases)

    def _below(
        self, module: Module, node: ast.AST, aliases: dict[str, str]
    ) -> Iterator[tuple[Use, str]]:
        for name in self._imported(module, node):
            yield Use(name, module.member, getattr(node, "lineno", 1)), ""
        if isinstance(node, (ast.Attribute, ast.Name)):
            parts = dotted(node)
            if parts and parts[0] in aliases:
                full = self._full(aliases[parts[0]], parts[1:])
                yield Use(full, module.member, node.lineno), parts[0]
                return
        for child in ast.iter_child_nodes(node):
            yield from self._below(module, child, aliases)

    def _imported(self, module: Module, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if self._theirs(alias.name))
        elif isinstance(node, ast.ImportFrom) and self._theirs(module.absolute(node)):
            yield from (f"{module.absolute(node)}.{alias.name}" for alias in node.names)

    def _aliases(self, module: Module) -> dict[str, str]:
        """Local name -> dotted name; an object's (not a module's) ends in ``:``."""
        found: dict[str, str] = {}
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if self._theirs(alias.name):
                        found[alias.asname or self._other] = (
                            alias.name if alias.asname else self._other
                        )
            elif isinstance(node, ast.ImportFrom) and self._theirs(module.absolute(node)):
                for alias in node.names:
                    name = f"{module.absolute(node)}.{alias.name}"
                    is_module = name in _MODULES
                    found[alias.asname or alias.name] = name if is_module else f"{name}:"
        return found

    def _theirs(self, name: str) -> bool:
        return name == self._other or name.startswith(f"{self._other}.")

    @staticmethod
    def _full(base: str, rest: list[str]) -> str:
        return base[:-1] if base.endswith(":") else ".".join([base, *rest])


_MODULES = {"triton.language", "triton.language.extra", "triton.language.math"}


def names_of(uses: Sequence[Use]) -> list[str]:
    """Distinct names, sorted."""
    return sorted({use.name for use in uses})
