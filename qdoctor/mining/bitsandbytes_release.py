"""What a bitsandbytes release holds: native libraries, and what its kernels need of triton."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from qdoctor.mining import at_import
from qdoctor.mining.closure import needed_by
from qdoctor.mining.every_wheel import default_wheel, say_metadata, say_platforms
from qdoctor.mining.native import libraries
from qdoctor.mining.shard import Shard, seen
from qdoctor.mining.sources import sources_of
from qdoctor.mining.wheel import open_wheel
from qdoctor.sources.imports import Executed, executed, run_by
from qdoctor.sources.modules import Sources, dotted
from qdoctor.sources.names import Names
from qdoctor.sources.uses import Use, Uses, names_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qdoctor.mining.http import Transport
    from qdoctor.mining.index import WheelFile

PACKAGE = "bitsandbytes"
FIRST = "0.31.8"
_SWITCHBACK = ("bitsandbytes.nn.triton_based_modules", "SwitchBackLinear")
_LEGACY_LAYOUTS = {"col32", "col_turing", "col_ampere"}
_PLAIN_PRODUCT = "int8_linear_matmul"
_GUARD = "is_triton_available"
_AUTOTUNE = "triton.autotune"
_FUNCTIONAL = "bitsandbytes.functional"


def read(shard: Shard, files: Sequence[WheelFile], transport: Transport) -> None:
    """State everything about one bitsandbytes release."""
    default = default_wheel(files)
    native = []
    for file in files:
        with open_wheel(file, transport) as wheel:
            native += libraries(wheel, PACKAGE)
            if file == default:
                say_metadata(shard, wheel)
                say_sources(shard, file, sources_of(wheel, PACKAGE))
    native.sort(key=lambda pair: (pair[0]["platform"], pair[0]["file"]))
    if native:
        shard.say("native", [library for library, _ in native], *(place for _, place in native))
    say_platforms(shard, files)


def say_sources(shard: Shard, file: WheelFile, sources: Sources) -> None:
    """State all that is read from the Python sources."""
    root = seen(file, f"{PACKAGE}/__init__.py")
    names = Names(sources)
    shard.say("public_names", sorted(names.public()), root)
    shard.say("closed_modules", names.closed_modules(), root)
    _say_uses(shard, file, "triton_names_used", Uses(sources, "triton").everywhere())
    _say_switchback(shard, file, sources)
    _say_import(shard, file, sources)
    _say_guard(shard, file, sources)
    _say_int8_path(shard, file, sources)


def _say_uses(shard: Shard, file: WheelFile, key: str, uses: Sequence[Use]) -> None:
    """State used names; the evidence is the first place of each."""
    first: dict[str, Use] = {}
    for use in sorted(uses):
        first.setdefault(use.name, use)
    places = [seen(file, u.member, line=u.line, symbol=u.name) for u in first.values()]
    shard.say(key, names_of(uses), *(places or [seen(file, f"{PACKAGE}/__init__.py")]))


def _say_switchback(shard: Shard, file: WheelFile, sources: Sources) -> None:
    """State whether Triton SwitchBack layers are there, and what their forward needs of triton."""
    module, name = _SWITCHBACK
    needed = needed_by(sources, module, name, without=frozenset({"backward"}))
    if not needed:
        shard.say("switchback", False, seen(file, f"{PACKAGE}/nn/__init__.py"))  # noqa: FBT003 - the value of a fact
        return
    here = sources.modules[module]
    place = seen(file, here.member, line=_line(here.tree, name), symbol=name)
    shard.say("switchback", True, place)  # noqa: FBT003
    uses = Uses(sources, "triton")
    used = {use for where, node in needed for use in uses.under(where, [node])}
    _say_uses(shard, file, "switchback_names_used", sorted(used))


def _say_import(shard: Shard, file: WheelFile, sources: Sources) -> None:
    """State what importing needs of triton where it is installed, and where it is not.

    ``import_needs``: names that must exist when triton is available, in the sense of
    ``triton_guard``; ``import_needs_always``: those asked for even without it; what a ``try``
    catches is in neither. ``decorates_at_import``: the triton decorators that importing runs;
    ``import_needs_first``: the names asked for before the first autotune decorator is applied.
    """
    uses = Uses(sources, "triton")
    steps = [step for step in executed(sources) if not step.caught]
    needs = {
        use: step.asked for step in steps for use in uses.under(step.module, run_by(step.node))
    }
    _say_uses(shard, file, "import_needs", list(needs))
    always = [use for use, asked in needs.items() if not asked]
    _say_uses(shard, file, "import_needs_always", always)
    decorators = list(_decorators(uses, steps))
    _say_uses(shard, file, "decorates_at_import", decorators)
    autotuned = [use for use in decorators if use.name == _AUTOTUNE]
    _say_uses(shard, file, "import_needs_first", at_import.before(autotuned, list(needs)))
    _say_others(shard, file, sources, steps)


def _say_others(shard: Shard, file: WheelFile, sources: Sources, steps: Sequence[Executed]) -> None:
    """State what importing asks of other projects, and whether it loads torch's compiler."""
    _say_uses(shard, file, "import_needs_modules", at_import.modules_needed(sources, steps))
    plain = [step for step in steps if not step.asked]
    loads = at_import.torch_compiler(sources, plain, _GUARD)
    places = [seen(file, use.member, line=use.line, symbol=use.name) for use in loads]
    root = seen(file, f"{PACKAGE}/__init__.py")
    shard.say("import_loads_torch_compiler", bool(loads), *(places or [root]))


def _say_guard(shard: Shard, file: WheelFile, sources: Sources) -> None:
    """State what a release means by triton being available, as ``triton_guard``.

    ``installed``: that triton is found; ``device``: torch's ``has_triton``, which also wants a GPU
    that triton supports, so that without one nothing of ``import_needs`` is asked for.
    """
    for module in sources.modules.values():
        for node in module.tree.body:
            if isinstance(node, ast.FunctionDef) and node.name == _GUARD:
                asked = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                place = seen(file, module.member, line=node.lineno, symbol=_GUARD)
                wants_device = "has_triton" in asked
                shard.say("triton_guard", "device" if wants_device else "installed", place)


def _decorators(uses: Uses, steps: Iterable[Executed]) -> Iterable[Use]:
    for step in steps:
        if isinstance(step.node, (ast.FunctionDef, ast.ClassDef)):
            for decorator in step.node.decorator_list:
                called = decorator.func if isinstance(decorator, ast.Call) else decorator
                if dotted(called):
                    yield from uses.under(step.module, [called])


def _say_int8_path(shard: Shard, file: WheelFile, sources: Sources) -> None:
    """State which int8 product is called: on plain rows, or on the legacy cuBLASLt layouts.

    A release that defines the product on plain rows calls that one, even where the functions of
    the layouts are still there.
    """
    functional = sources.modules.get(_FUNCTIONAL)
    if functional is None:
        return
    if plain := _line(functional.tree, _PLAIN_PRODUCT):
        place = seen(file, functional.member, line=plain, symbol=_PLAIN_PRODUCT)
        shard.say("int8_path", "plain", place)
        shard.say("int8_layouts", [], place)
        return
    lines: dict[str, int] = {}
    for node in ast.walk(functional.tree):
        if isinstance(node, ast.Constant) and node.value in _LEGACY_LAYOUTS:
            name = str(node.value)
            lines[name] = min(node.lineno, lines.get(name, node.lineno))
    if lines:
        places = [seen(file, functional.member, line=lines[n], symbol=n) for n in sorted(lines)]
        shard.say("int8_path", "legacy-layouts", *places)
        shard.say("int8_layouts", sorted(lines), *places)


def _line(tree: ast.Module, name: str) -> int | None:
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
            return node.lineno
    return None
