"""What runs when a package is imported: the modules reached, and the statements executed there.

Followed from ``__init__`` through its own imports. A branch that asks for another maker's devices
(XPU, Gaudi, NPU, MPS) is not taken; one that asks whether triton is there is taken as if it were.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.sources.modules import Module, Sources

_OTHER_DEVICES = re.compile(r"xpu|hpu|npu|mps|habana|ipex|rocm|hip\b", re.IGNORECASE)
_THERE = re.compile(r"(is_)?triton(_is)?_available(\(\))?|find_spec\(.triton.\)")


@dataclass(frozen=True)
class Executed:
    """One statement that runs at import.

    ``asked``: it runs only where triton was found to be there; ``caught``: its failing is caught.
    """

    module: Module
    node: ast.stmt
    asked: bool
    caught: bool


def executed(sources: Sources) -> Iterator[Executed]:
    """Walk all statements that ``import <package>`` executes with triton installed."""
    waiting: list[tuple[str, bool, bool]] = [(sources.package, False, False)]
    done: set[str] = set()
    while waiting:
        name, asked, caught = waiting.pop(0)
        if name in done or name not in sources.modules:
            continue
        done.add(name)
        module = sources.modules[name]
        for step in _steps(module, module.tree.body, asked=asked, caught=caught):
            yield step
            inner = own_modules(sources.package, module, step.node)
            waiting += [(name, step.asked, step.caught) for name in inner]


def own_modules(package: str, module: Module, node: ast.AST) -> Iterator[str]:
    """Modules of the package that an import statement imports, the packages above them first.

    What ``from a import b`` imports may be a module or a name of one: both are given.
    """
    targets: list[str] = []
    if isinstance(node, ast.Import):
        targets = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        origin = module.absolute(node)
        targets = [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
    for target in targets:
        parts = target.split(".")
        if parts[0] == package:
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _steps(
    module: Module, body: list[ast.stmt], *, asked: bool, caught: bool
) -> Iterator[Executed]:
    for node in body:
        if isinstance(node, ast.If):
            for branch, found in _taken(node):
                yield from _steps(module, branch, asked=asked or found, caught=caught)
        elif isinstance(node, ast.Try):
            yield from _steps(module, node.body, asked=asked, caught=caught or bool(node.handlers))
            yield from _steps(module, [*node.orelse, *node.finalbody], asked=asked, caught=caught)
        elif isinstance(node, (ast.With, ast.For, ast.While)):
            yield from _steps(module, node.body, asked=asked, caught=caught)
        else:
            yield Executed(module, node, asked, caught)


def _taken(node: ast.If) -> Iterator[tuple[list[ast.stmt], bool]]:
    """Give the branches that run with triton there, and whether each runs only because of it."""
    test = ast.unparse(node.test)
    found = _THERE.search(test)
    if found:
        absent = test.startswith("not ") or "is None" in test
        yield (node.orelse if absent else node.body), True
    elif _OTHER_DEVICES.search(test) or "TYPE_CHECKING" in test:
        yield node.orelse, False
    else:
        yield node.body, False
        yield node.orelse, False


def run_by(node: ast.stmt) -> list[ast.AST]:
    """Give what executing a definition runs: decorators, defaults, annotations, class bodies."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        arguments = node.args
        given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        annotations = [a.annotation for a in given if a.annotation]
        defaults = [*arguments.defaults, *(d for d in arguments.kw_defaults if d)]
        return [
            *node.decorator_list,
            *defaults,
            *annotations,
            *([node.returns] if node.returns else []),
        ]
    if isinstance(node, ast.ClassDef):
        inner = [part for child in node.body for part in run_by(child)]
        return [*node.decorator_list, *node.bases, *inner]
    return [node]
