"""When a package reaches the names that it uses of another: importing it, later, or guarded.

``import``: importing the package runs the use, and nothing catches its failing. ``later``: a
function body, a kernel, or a module that importing the package alone does not load. ``guarded``:
only after looking (see ``guards``), or in a ``try`` that survives its absence.
"""

from __future__ import annotations

import ast
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from qdoctor.sources import guards
from qdoctor.sources.imports import own_modules
from qdoctor.sources.uses import Uses

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qdoctor.sources.modules import Module, Sources

When = Literal["import", "later", "guarded"]
_ORDER: tuple[When, ...] = ("import", "later", "guarded")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_TRIES = (ast.Try, getattr(ast, "TryStar", ast.Try))  # Python 3.11 has ``except*``


@dataclass(frozen=True)
class Reached:
    """The place that reaches a name first: at import before later, unguarded before guarded."""

    name: str
    member: str
    line: int
    when: When


def reached(sources: Sources, other: str, mentioning: Iterable[str]) -> list[Reached]:
    """Give every name of the package ``other`` that modules use, once, sorted by place.

    ``mentioning`` names the modules whose text holds ``other`` at all; others use none of it.
    """
    walk = _Walk(sources, other)
    found: dict[str, Reached] = {}
    modules = [sources.modules[name] for name in sorted(mentioning) if name in sources.modules]
    at_import = walk.imported() if modules else set()
    for module in modules:
        for use in walk.uses_bounded(module, imported=module.name in at_import):
            known = found.get(use.name)
            if known is None or _rank(use) < _rank(known):
                found[use.name] = use
    return sorted(found.values(), key=lambda use: (use.member, use.line, use.name))


def _rank(use: Reached) -> tuple[int, str, int]:
    return _ORDER.index(use.when), use.member, use.line


def _later(one: When, other: When) -> When:
    return max(one, other, key=_ORDER.index)


class _Walk:
    """Walks modules of ``sources``, saying of each statement when it runs."""

    def __init__(self, sources: Sources, other: str) -> None:
        self._sources = sources
        self._uses = Uses(sources, other)
        self._always = {other, f"{other}.language"}  # modules of every release

    def imported(self) -> set[str]:
        """Name the modules that importing the package loads whatever it finds."""
        waiting, done = [self._sources.package], set[str]()
        while waiting:
            name = waiting.pop()
            if name in done or name not in self._sources.modules:
                continue
            done.add(name)
            module = self._sources.modules[name]
            with suppress(RecursionError):  # nested without measure: what it imports is not seen
                for node, when in self._block(module, module.tree.body, "import"):
                    if when == "import":
                        waiting += own_modules(self._sources.package, module, node)
        return done

    def uses_bounded(self, module: Module, *, imported: bool) -> list[Reached]:
        """Give the uses in one module; none where it is nested too deeply, which is noted."""
        try:
            return list(self.uses(module, imported=imported))
        except RecursionError:
            self._sources.unparsed.append(f"{module.member}: nested too deeply")
            return []

    def uses(self, module: Module, *, imported: bool) -> Iterator[Reached]:
        """Give the uses in one module, and when each is reached."""
        start: When = "import" if imported else "later"
        start = "guarded" if guards.for_others(module.member) else start
        parts = list(self._block(module, module.tree.body, start))
        doubtful = self._doubtful(module, parts)
        for node, when in parts:
            found = list(self._uses.through(module, [node]))
            looks = bool(found) and when != "guarded" and guards.conditional(node)
            for use, local in found:
                reach = "guarded" if looks or local in doubtful else when
                yield Reached(use.name, use.member, use.line, reach)

    def _doubtful(self, module: Module, parts: list[tuple[ast.AST, When]]) -> set[str]:
        """Local names that stand for one thing or another, depending on what was found."""
        bound: dict[str, set[str]] = {}
        doubtful: set[str] = set()
        for node, when in parts:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                origin = f"{module.absolute(node)}." if isinstance(node, ast.ImportFrom) else ""
                for alias in node.names:
                    local, full = alias.asname or alias.name.split(".")[0], origin + alias.name
                    bound.setdefault(local, set()).add(full)
                    if when == "guarded" and full not in self._always:
                        doubtful.add(local)
        return doubtful | {local for local, names in bound.items() if len(names - self._always) > 1}

    def _block(
        self, module: Module, body: list[ast.stmt], when: When
    ) -> Iterator[tuple[ast.AST, When]]:
        """Give simple statements and expressions with when they run, in order."""
        for node in body:
            yield from self._statement(module, node, when)
            if isinstance(node, ast.If) and guards.leaves(node.body):
                asked = guards.asked(node.test, module, self._sources)
                when = _later(when, "guarded") if asked in {"guard", "there"} else when

    def _statement(
        self, module: Module, node: ast.stmt, when: When
    ) -> Iterator[tuple[ast.AST, When]]:
        if isinstance(node, ast.If):
            yield from self._if(module, node, when)
        elif isinstance(node, _TRIES):
            yield from self._try(module, node, when)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            inside = "guarded" if guards.suppresses(node) else when
            yield from ((item.context_expr, when) for item in node.items)
            yield from self._block(module, node.body, inside)
        elif isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            yield from self._definition(module, node, when)
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.While, ast.Match)):
            yield from self._repeated(module, node, when)
        else:
            yield node, when

    def _if(self, module: Module, node: ast.If, when: When) -> Iterator[tuple[ast.AST, When]]:
        asked = guards.asked(node.test, module, self._sources)
        shielded: When = "guarded" if asked == "guard" else _later(when, "later")
        then: When = when if asked == "there" else shielded
        otherwise: When = when if asked in {"absent", "never"} else shielded
        yield node.test, when
        if asked == "absent":
            then = "guarded"
        if asked == "there":
            otherwise = "guarded"
        if asked != "never":
            yield from self._block(module, node.body, then)
        yield from self._block(module, node.orelse, otherwise)

    def _try(self, module: Module, node: ast.Try, when: When) -> Iterator[tuple[ast.AST, When]]:
        inside: When = "guarded" if guards.catches(node) else when
        yield from self._block(module, node.body, inside)
        for handler in node.handlers:
            yield from self._block(module, handler.body, "guarded")
        yield from self._block(module, node.orelse, inside)
        yield from self._block(module, node.finalbody, when)

    def _definition(
        self,
        module: Module,
        node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
        when: When,
    ) -> Iterator[tuple[ast.AST, When]]:
        yield from ((decorator, when) for decorator in node.decorator_list)
        if isinstance(node, ast.ClassDef):
            yield from ((base, when) for base in [*node.bases, *node.keywords])
            yield from self._block(module, node.body, when)
            return
        yield node.args, when
        if node.returns:
            yield node.returns, when
        yield from self._block(module, node.body, _later(when, "later"))

    def _repeated(
        self, module: Module, node: ast.For | ast.AsyncFor | ast.While | ast.Match, when: When
    ) -> Iterator[tuple[ast.AST, When]]:
        if isinstance(node, ast.Match):
            yield node.subject, when
            for case in node.cases:
                yield from self._block(module, case.body, _later(when, "later"))
            return
        yield node.test if isinstance(node, ast.While) else node.iter, when
        yield from self._block(module, [*node.body, *node.orelse], when)
