"""What importing a package asks of others than triton: their modules, and torch's compiler.

Read from the statements that importing runs (``qdoctor.sources.imports``), so what a ``try``
catches and what runs only where triton was found is not asked of every machine.
"""

from __future__ import annotations

import ast
import re
import sys
from typing import TYPE_CHECKING

from qdoctor.sources.imports import run_by
from qdoctor.sources.uses import Use, Uses

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qdoctor.sources.imports import Executed
    from qdoctor.sources.modules import Sources

_COMPILER = re.compile(r"torch\.(_inductor\b.*|compile)")


def modules_needed(sources: Sources, steps: Sequence[Executed]) -> list[Use]:
    """Give the top-level modules of other projects that importing always asks for, first places.

    ``torch`` and ``triton`` are left out: what is asked of them has facts of its own.
    """
    own = {*sys.stdlib_module_names, sources.package, "torch", "triton"}
    first: dict[str, Use] = {}
    for step in steps:
        if not step.asked and not step.caught:
            for name in _imported(step):
                top = name.split(".")[0]
                place = Use(top, step.module.member, step.node.lineno)
                if top not in own:
                    first.setdefault(top, place)
    return sorted(first.values())


def torch_compiler(sources: Sources, steps: Sequence[Executed], guard: str) -> list[Use]:
    """Give the places where importing makes torch load its compiler, which imports triton itself.

    Those are statements that run at import, and the body of ``guard``, the function by which the
    package asks whether triton is there.
    """
    uses = Uses(sources, "torch")
    found = [use for step in steps for use in uses.under(step.module, run_by(step.node))]
    for module in sources.modules.values():
        for node in module.tree.body:
            if isinstance(node, ast.FunctionDef) and node.name == guard:
                found += uses.under(module, node.body)
    return sorted({use for use in found if _COMPILER.fullmatch(use.name)})


def before(decorators: Sequence[Use], needs: Sequence[Use]) -> list[Use]:
    """Give what is asked for before the first of ``decorators`` is applied.

    ``needs`` in the order in which importing reaches them; empty where nothing is decorated.
    """
    if not decorators:
        return []
    first = decorators[0]
    reached = [use for use in needs if use.member == first.member]
    if not reached:
        return []
    earlier = needs[: needs.index(reached[0])]
    return [*earlier, *(use for use in reached if use.line < first.line)]


def _imported(step: Executed) -> Iterator[str]:
    if isinstance(step.node, ast.Import):
        yield from (alias.name for alias in step.node.names)
    elif isinstance(step.node, ast.ImportFrom) and not step.node.level and step.node.module:
        yield step.node.module
