"""Which functions of a package refuse a GPU, and below which SM: read from their assertions.

Read are ``assert ... is_sm_at_least_89() ...`` and ``if not torch.cuda.get_device_capability()[0]
>= 8: raise ...``; a plain ``if`` that chooses another way refuses nothing.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.sources.modules import Module

_AT_LEAST = re.compile(r"is_sm_at_least_(\d+)(\d)")
_CAPABILITY = "get_device_capability"


@dataclass(frozen=True)
class Demand:
    """One refusal: the function (dotted), the lowest SM it takes, its words and its place."""

    function: str
    sm: str
    text: str
    member: str
    line: int
    symbol: str


def demands_of(module: Module) -> list[Demand]:
    """Give the refusals of one module's functions, in the order of its lines."""
    found = list(_inside(module, module.tree, module.name))
    return sorted(found, key=lambda one: one.line)


def _inside(module: Module, scope: ast.AST, name: str) -> Iterator[Demand]:
    """Walk a scope; nested functions and classes carry their own names."""
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield from _inside(module, node, f"{name}.{node.name}")
            continue
        asked = _refusal(node)
        if asked is not None and not isinstance(scope, ast.Module):
            (sm, symbol, line), text = asked
            yield Demand(name, sm, text, module.member, line, symbol)
        yield from _inside(module, node, name)


def _refusal(node: ast.AST) -> tuple[tuple[str, str, int], str] | None:
    """Read an assertion, or an ``if`` that only raises: what it asks for, and its words."""
    if isinstance(node, ast.Assert):
        asked, message = _asked(node.test), node.msg
    elif isinstance(node, ast.If) and isinstance(node.body[0], ast.Raise):
        error = node.body[0].exc
        asked = _asked(node.test) if _denies(node.test) else None
        message = error.args[0] if isinstance(error, ast.Call) and error.args else None
    else:
        return None
    return None if asked is None else (asked, _words(message))


def _denies(test: ast.expr) -> bool:
    return isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)


def _asked(test: ast.expr) -> tuple[str, str, int] | None:
    """Find what a condition asks of the GPU: (SM, the name it asks by, line)."""
    for node in ast.walk(test):
        if isinstance(node, ast.Call):
            name = _name(node.func)
            found = _AT_LEAST.fullmatch(name)
            if found is not None:
                return f"{found[1]}.{found[2]}", name, node.lineno
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.GtE):
            major = _major(node)
            if major is not None:
                return f"{major}.0", _CAPABILITY, node.lineno
    return None


def _major(node: ast.Compare) -> int | None:
    """Read ``torch.cuda.get_device_capability()[0] >= 8``."""
    left, right = node.left, node.comparators[0]
    named = (
        isinstance(left, ast.Subscript)
        and isinstance(left.value, ast.Call)
        and _name(left.value.func) == _CAPABILITY
    )
    if named and isinstance(right, ast.Constant) and isinstance(right.value, int):
        return right.value
    return None


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _words(message: ast.expr | None) -> str:
    """Give a message's own words; what is put in at run time is an ellipsis."""
    if isinstance(message, ast.Constant):
        return str(message.value)
    if isinstance(message, ast.JoinedStr):
        parts = (p.value if isinstance(p, ast.Constant) else "…" for p in message.values)
        return "".join(map(str, parts))
    return ""
