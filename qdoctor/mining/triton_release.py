"""What a triton release holds: its names, where libdevice lies, its compiler, what it asks for."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from packaging.version import Version

from qdoctor.binaries import UnreadableBinary, read_library
from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.every_wheel import default_wheel, say_metadata, say_platforms, say_pythons
from qdoctor.mining.shard import Shard, seen
from qdoctor.mining.sources import sources_of
from qdoctor.mining.wheel import Wheel, open_wheel
from qdoctor.sources.modules import Sources, dotted
from qdoctor.sources.names import Names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qdoctor.mining.http import Transport
    from qdoctor.mining.index import WheelFile

PACKAGE = "triton"
FIRST = "2.0.0"
_PROBED = "llrint"
_OTHER_VENDORS = {"hip"}
_PTXAS = re.compile(r"triton/.*/bin/ptxas[^/]*")
_RELEASE = re.compile(rb"Cuda compilation tools, release [\d.]+, V([\d.]+)")
_DECORATORS = {"autotune", "heuristics", "Autotuner", "Heuristics", "Config"}
_ACTIVE_DRIVER = ["driver", "active"]


def read(shard: Shard, files: Sequence[WheelFile], transport: Transport) -> None:
    """State everything about one triton release."""
    with open_wheel(default_wheel(files), transport) as wheel:
        say_metadata(shard, wheel)
        sources = sources_of(wheel, PACKAGE)
        say_names(shard, wheel.file, sources)
        say_decorators(shard, wheel.file, sources)
        _say_ptxas(shard, wheel)
        _say_glibc(shard, wheel)
    say_platforms(shard, files)
    say_pythons(shard, files)


def say_names(shard: Shard, file: WheelFile, sources: Sources) -> None:
    """State all public names, which of them libdevice functions go by, and ``triton.ops``."""
    names = Names(sources)
    public = names.public()
    root = seen(file, f"{PACKAGE}/__init__.py")
    shard.say("names", sorted(public), root)
    shard.say("closed_modules", names.closed_modules(), root)
    shard.say("ops", [name for name in sorted(public) if _within(name, "triton.ops")], root)
    paths = sorted(filter(_is_probed, public), key=lambda name: (name.count("."), name))
    places = [_place(file, sources, public[path]) for path in paths]
    shard.say("libdevice_paths", paths, *(places or [root]))


def say_decorators(shard: Shard, file: WheelFile, sources: Sources) -> None:
    """State whether decorating a kernel (not launching it) asks for the GPU's driver.

    Read from what ``autotune``, ``heuristics``, ``Config`` and the classes' ``__init__`` execute
    themselves; functions that they only define are not called while decorating.
    """
    module = sources.modules.get("triton.runtime.autotuner") or sources.modules.get(
        "triton.runtime.jit"
    )
    if module is None:
        return
    lines = sorted(set(_driver_lines(module.tree)))
    places = [seen(file, module.member, line=line, symbol="driver.active") for line in lines]
    shard.say("decorators_need_driver", bool(lines), *(places or [seen(file, module.member)]))


def _driver_lines(tree: ast.Module) -> Iterator[int]:
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in _DECORATORS:
            for function in _run_while_decorating(node):
                for inner in _executed(function.body):
                    if isinstance(inner, ast.Attribute) and dotted(inner)[:2] == _ACTIVE_DRIVER:
                        yield inner.lineno


def _run_while_decorating(node: ast.FunctionDef | ast.ClassDef) -> Iterator[ast.FunctionDef]:
    if isinstance(node, ast.FunctionDef):
        yield node
    inner = ("__init__",) if isinstance(node, ast.ClassDef) else ("decorator",)
    for child in node.body:
        if isinstance(child, ast.FunctionDef) and child.name in inner:
            yield child


def _executed(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """Walk what runs when ``body`` runs: not the bodies of functions that it defines."""
    for node in body:
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            yield from _executed(list(ast.iter_child_nodes(node)))


def _say_ptxas(shard: Shard, wheel: Wheel) -> None:
    """State the versions of the assemblers inside, as each says its own, ascending."""
    found: list[tuple[Version, str]] = []
    for member in filter(_PTXAS.fullmatch, wheel.names):
        with wheel.opened(member) as stream:
            release = _RELEASE.search(stream.read())
        if release is None:
            raise UnreadableRelease(f"{wheel.file.name}: {member} does not say its version")
        found.append((Version(release[1].decode()), member))
    found.sort()
    if found:
        places = [seen(wheel.file, member, symbol=f"V{version}") for version, member in found]
        shard.say("ptxas", [str(version) for version, _member in found], *places)


def _say_glibc(shard: Shard, wheel: Wheel) -> None:
    """State the highest glibc symbol version that the compiler library asks for."""
    member = "triton/_C/libtriton.so"
    if member not in wheel.names:
        return
    with wheel.opened(member) as stream:
        try:
            library = read_library(stream)
        except UnreadableBinary as error:
            raise UnreadableRelease(f"{wheel.file.name}: {member}: {error}") from error
    shard.say("glibc", library.glibc, seen(wheel.file, member, symbol=f"GLIBC_{library.glibc}"))


def _is_probed(name: str) -> bool:
    parts = name.split(".")
    inside = _within(name, "triton.language") and parts[-1] == _PROBED
    return inside and not _OTHER_VENDORS & set(parts)


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _place(file: WheelFile, sources: Sources, place: tuple[str, int]) -> dict[str, object]:
    module, line = place
    return seen(file, sources.modules[module].member, line=line, symbol=_PROBED)
