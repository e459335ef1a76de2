"""Which public dotted names a package offers, read from its syntax trees, re-exports followed.

Listed are modules, and the functions, classes and values in a module's own scope that the package
itself makes; what a module imports from elsewhere (``os``, ``torch``) is its own business. A module
whose names can't all be told without running it (``__getattr__``, ``globals()[...]``, a star import
of something unseen) is *open*: what it is not seen to have, it may have.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qdoctor.sources.modules import Module, Sources, statements

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Scope:
    """Names of one module -> (module that defines it, line there); ``open``: there may be more."""

    names: dict[str, tuple[str, int]] = field(default_factory=dict)
    open: bool = False


class Names:
    """The names of all modules of one package."""

    def __init__(self, sources: Sources) -> None:
        """Read the scopes of ``sources`` when asked for."""
        self._sources = sources
        self._scopes: dict[str, Scope] = {}

    def scope(self, module: str) -> Scope:
        """Give the names of a module; an unseen module is empty and open."""
        if module not in self._sources.modules:
            return Scope(open=True)
        if module not in self._scopes:
            self._scopes[module] = Scope()  # an import circle sees what is known so far
            self._fill(self._sources.modules[module], self._scopes[module])
        return self._scopes[module]

    def has(self, dotted: str) -> bool | None:
        """Say whether the package has a dotted name; None where its files do not tell."""
        module, rest = self._split(dotted)
        if not rest:
            return module in self._sources.packages
        scope = self.scope(module)
        if module.rpartition(".")[2] in scope.names:
            return None  # ``from .driver import driver`` above it hides the module of that name
        if rest[0] not in scope.names:
            return None if scope.open or rest[0].startswith("_") else False
        origin, line = scope.names[rest[0]]
        if len(rest) == 1:
            return True
        again = ".".join([origin, *rest[1:]])
        is_module = line == 1 and origin in self._sources.packages and origin != module
        return self.has(again) if is_module else None  # an object's own attributes are not seen

    def _split(self, dotted: str) -> tuple[str, list[str]]:
        """Split a name into the longest module and the rest."""
        parts = dotted.split(".")
        for end in range(len(parts), 0, -1):
            if (module := ".".join(parts[:end])) in self._sources.packages:
                return module, parts[end:]
        return parts[0], parts[1:]

    def public(self) -> dict[str, tuple[str, int]]:
        """Give every public dotted name -> (module that defines it, line there)."""
        found: dict[str, tuple[str, int]] = {}
        for module in sorted(self._sources.packages):
            if _public(module):
                found[module] = (module, 1)
                for name, place in self.scope(module).names.items():
                    if not name.startswith("_"):
                        found[f"{module}.{name}"] = place
        return found

    def closed_modules(self) -> list[str]:
        """Name the public modules whose names are all listed, sorted."""
        modules = filter(_public, self._sources.modules)
        return sorted(module for module in modules if not self.scope(module).open)

    def _fill(self, module: Module, scope: Scope) -> None:
        for node in statements(module.tree.body):
            if isinstance(node, ast.ImportFrom):
                self._import_from(module, node, scope)
            elif isinstance(node, ast.Import):
                self._import(node, scope)
            elif isinstance(node, ast.Delete):
                for name in _targets(node.targets):
                    scope.names.pop(name, None)
            else:
                for name in _defined(node):
                    scope.names[name] = (module.name, node.lineno)
            scope.open = scope.open or _dynamic(node)
        scope.open = scope.open or "__getattr__" in scope.names

    def _import(self, node: ast.Import, scope: Scope) -> None:
        for alias in node.names:
            if alias.asname and self._ours(alias.name):
                scope.names[alias.asname] = (alias.name, 1)

    def _import_from(self, module: Module, node: ast.ImportFrom, scope: Scope) -> None:
        origin = module.absolute(node)
        if not self._ours(origin):
            return
        for alias in node.names:
            if alias.name == "*":
                self._import_all(origin, scope)
                continue
            inner = f"{origin}.{alias.name}"
            known = self.scope(origin).names.get(alias.name)
            place = (inner, 1) if inner in self._sources.packages else (module.name, node.lineno)
            scope.names[alias.asname or alias.name] = known or place

    def _import_all(self, origin: str, scope: Scope) -> None:
        there = self.scope(origin)
        listed = _all(self._sources.modules.get(origin))
        for name, place in there.names.items():
            if name in listed if listed is not None else not name.startswith("_"):
                scope.names[name] = place
        scope.open = scope.open or there.open

    def _ours(self, module: str) -> bool:
        return module.split(".", 1)[0] == self._sources.package


def _public(dotted: str) -> bool:
    return not any(part.startswith("_") for part in dotted.split("."))


def _defined(node: ast.stmt) -> Iterator[str]:
    """Names that a statement binds by definition or assignment."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from _targets(node.targets)
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        yield from _targets([node.target])


def _targets(targets: list[ast.expr]) -> Iterator[str]:
    for target in targets:
        if isinstance(target, ast.Name):
            yield target.id
        elif isinstance(target, (ast.Tuple, ast.List)):
            yield from _targets(target.elts)


def _dynamic(node: ast.stmt) -> bool:
    """Say whether a statement may bind names that cannot be read off it."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.If, ast.Try)):
        return (
            False  # what a function does when called is not seen; bodies of if come by themselves
        )
    text = ast.unparse(node)
    return "globals()[" in text or "globals().update" in text or "setattr(" in text


def _all(module: Module | None) -> list[str] | None:
    """Give a module's literal ``__all__``; None where it has none that can be read."""
    for node in module.tree.body if module else []:
        if isinstance(node, ast.Assign) and list(_targets(node.targets)) == ["__all__"]:
            try:
                return list(ast.literal_eval(node.value))
            except ValueError:
                return None
    return None
