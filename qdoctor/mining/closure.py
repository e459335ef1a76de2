"""Which functions a function needs in the end: from one class on, through calls and imports."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from qdoctor.sources.modules import Module, Sources, statements

if TYPE_CHECKING:
    from collections.abc import Iterator

Definition = ast.FunctionDef | ast.ClassDef


def needed_by(
    sources: Sources, module: str, name: str, *, without: frozenset[str]
) -> list[tuple[Module, ast.AST]]:
    """Give the definitions that ``module.name`` names in its body, and those that they name.

    Functions and methods called one of ``without`` are not entered. A name is taken as used where
    it is read: what is passed on is needed as much as what is called.
    """
    waiting = [(module, name)]
    done: set[tuple[str, str]] = set()
    found: list[tuple[Module, ast.AST]] = []
    while waiting:
        where, what = waiting.pop(0)
        if (where, what) in done or where not in sources.modules or what in without:
            continue
        done.add((where, what))
        here = sources.modules[where]
        for node in _definitions(here, what):
            parts = list(_parts(node, without))
            found += [(here, part) for part in parts]
            names = {n for part in parts for n in _read(part)}
            waiting += [_origin(here, used) for used in sorted(names)]
    return found


def _definitions(module: Module, name: str) -> Iterator[Definition]:
    for node in statements(module.tree.body):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
            yield node


def _parts(node: Definition, without: frozenset[str]) -> Iterator[ast.AST]:
    if isinstance(node, ast.ClassDef):
        for child in node.body:
            if not (isinstance(child, ast.FunctionDef) and child.name in without):
                yield child
        yield from node.bases
    else:
        yield node


def _read(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            yield inner.id


def _origin(module: Module, name: str) -> tuple[str, str]:
    """Give the module and the name there that ``name`` stands for in ``module``."""
    for node in statements(module.tree.body):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return module.absolute(node), alias.name
    return module.name, name
