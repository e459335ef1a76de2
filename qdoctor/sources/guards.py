"""What shields code from a name that may not exist: ``try``, version tests, ``hasattr``.

Told apart are questions that always have the same answer where the package is installed
(``is_triton_available()``) from those that decide about single names (versions, ``hasattr``): only
the latter are guards. What cannot be told apart is a guard: it is better to keep quiet about a name
than to accuse code that looks first.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from qdoctor.sources.modules import Module, Sources

Asked = Literal["there", "absent", "never", "guard", "other"]
"""What a condition asks: whether the package is (not) there, nothing at run time, a guard, else."""

_CAUGHT = re.compile(r"\b(ImportError|ModuleNotFoundError|AttributeError|\w*Exception)\b")
_LOOKS = re.compile(
    r"hasattr|getattr|version|triton|\btl\b|find_spec|available|support|\bhas_|\bdir\(|\bis_"
    r"|capability|__dict__|\bin sys\.modules",
    re.IGNORECASE,
)
_FOUND = re.compile(
    r"([\w.]+\.)?find_spec\(.triton.\)|([\w.]+\.)?_*(is|has|have)_*triton\w*(\(\))?|triton",
    re.IGNORECASE,
)
_OTHER_MAKERS = re.compile(
    r"(?<![a-z])(ascend|cambricon|enflame|habana|hcu|hip|hpu|iluvatar|kunlunxin|metax|mlu|mthreads|"
    r"musa|npu|rocm|sunrise|tsingmicro|xpu|intel|amd)(?![a-z])",
    re.IGNORECASE,
)
_FINDS = re.compile(r"find_spec\(.triton.\)|import triton\b")
_ASKS_MORE = re.compile(
    r"version|cuda|has_triton\(|device|platform|capab|hip\b|environ", re.IGNORECASE
)
_SAYS = re.compile(r"True|False|None|[\w.]*find_spec\(.triton.\)( is not None)?")


def for_others(member: str) -> bool:
    """Say whether a file is for another maker's devices, by its path: it is chosen by looking."""
    return bool(_OTHER_MAKERS.search(member))


def catches(node: ast.Try) -> bool:
    """Say whether a ``try`` survives a name that is missing: caught, and not raised again."""
    return any(
        (handler.type is None or _CAUGHT.search(ast.unparse(handler.type)))
        and not ends_in_raise(handler.body)
        for handler in node.handlers
    )


def suppresses(node: ast.With | ast.AsyncWith) -> bool:
    """Say whether a ``with`` swallows what its body raises."""
    return any("suppress(" in ast.unparse(item.context_expr) for item in node.items)


def ends_in_raise(body: list[ast.stmt]) -> bool:
    """Say whether a block always raises at its end."""
    return bool(body) and isinstance(body[-1], ast.Raise)


def leaves(body: list[ast.stmt]) -> bool:
    """Say whether what follows a block does not run once the block has."""
    return bool(body) and isinstance(body[-1], (ast.Raise, ast.Return, ast.Continue, ast.Break))


def asked(test: ast.expr, module: Module, sources: Sources) -> Asked:
    """Say what a condition asks, in a package where triton is installed."""
    text = ast.unparse(test)
    if text.endswith("TYPE_CHECKING"):
        return "never"
    bare = text.removeprefix("not ").removesuffix(" is None").removesuffix(" is not None")
    if _FOUND.fullmatch(bare) and _means_found(bare, module, sources):
        absent = text.startswith("not ") or text.endswith(" is None")
        return "absent" if absent else "there"
    return "guard" if _LOOKS.search(text) else "other"


def conditional(node: ast.AST) -> bool:
    """Say whether an expression looks before it uses: ``hasattr(tl, "x") and tl.x``."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.IfExp) and _LOOKS.search(ast.unparse(inner.test)):
            return True
        if isinstance(inner, ast.BoolOp) and "hasattr(" in ast.unparse(inner):
            return True
    return False


def _means_found(bare: str, module: Module, sources: Sources) -> bool:
    """Say whether a flag or function tells only that triton is there: by what defines it."""
    if bare == "triton" or "find_spec" in bare:
        return True
    name = bare.removesuffix("()").rpartition(".")[2]
    here = _definitions(name, module) or _definitions(name, _origin(name, module, sources))
    return bool(here) and all(
        bool(_SAYS.fullmatch(text) or _FINDS.search(text)) and not _ASKS_MORE.search(text)
        for text in here
    )


def _origin(name: str, module: Module, sources: Sources) -> Module | None:
    """Return the package's module that a name is imported from; None for none."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom):
            names = {alias.asname or alias.name for alias in node.names}
            origin = module.absolute(node)
            if name in names and origin.split(".")[0] == sources.package:
                return sources.modules.get(origin)
    return None


def _definitions(name: str, module: Module | None) -> list[str]:
    """Give the bodies and values by which a module defines a name."""
    found: list[str] = []
    for node in ast.walk(module.tree) if module else ():
        if isinstance(node, ast.FunctionDef) and node.name == name:
            found.append("\n".join(map(ast.unparse, node.body)))
        elif isinstance(node, ast.Assign) and name in map(ast.unparse, node.targets):
            found.append(ast.unparse(node.value))
    return found
