"""What a torchao release holds: what it asks for, its names to quantize by, the GPUs it demands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.mining.every_wheel import default_wheel, say_metadata, say_platforms, say_pythons
from qdoctor.mining.gpu_demands import demands_of
from qdoctor.mining.shard import Shard, seen
from qdoctor.mining.wheel import open_wheel
from qdoctor.sources.modules import Sources
from qdoctor.sources.names import Names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.mining.http import Transport
    from qdoctor.mining.index import WheelFile

PACKAGE = "torchao"
FIRST = "0.0.1"
_READ = "torchao.quantization"
_PROTOTYPES = ("torchao.prototype.mx_formats", "torchao.prototype.quantized_training")
"""Where today's four-bit floating formats and int8 training are made."""
_DEMANDING = ("float8", "dtypes")
"""What else of torchao is called to quantize a layer, and may refuse a GPU."""


def read(shard: Shard, files: Sequence[WheelFile], transport: Transport) -> None:
    """State everything about one torchao release."""
    file = default_wheel(files)
    with open_wheel(file, transport) as wheel:
        say_metadata(shard, wheel)
        sources = Sources(PACKAGE, {name: wheel.text(name) for name in _members(wheel.names)})
        say_names(shard, file, sources)
        say_prototypes(shard, file, sources)
        say_demands(shard, file, sources)
    say_platforms(shard, files)
    say_pythons(shard, files)


def _members(names: Sequence[str]) -> list[str]:
    """Choose the modules to read: not the thousands of lines of other prototypes and tests."""
    dotted = (_READ, *_PROTOTYPES, *(f"{PACKAGE}.{name}" for name in _DEMANDING))
    folders = tuple(f"{one.replace('.', '/')}/" for one in dotted)
    found = [name for name in names if name.startswith(folders) and name.endswith(".py")]
    roots = (f"{PACKAGE}/__init__.py", f"{PACKAGE}/prototype/__init__.py")
    return [*found, *(root for root in roots if root in names)]


def say_names(shard: Shard, file: WheelFile, sources: Sources) -> None:
    """State the names directly in ``torchao.quantization``, by which users quantize.

    ``quantization_names_complete``: there are no others, as far as the syntax trees tell.
    """
    names = Names(sources)
    root = seen(file, sources.modules[_READ].member)
    shard.say("quantization_names", _directly_in(_READ, names), root)
    shard.say("quantization_names_complete", _READ in names.closed_modules(), root)


def say_prototypes(shard: Shard, file: WheelFile, sources: Sources) -> None:
    """State the names directly in the prototypes that a layer is quantized by.

    A prototype that the wheel does not have adds none: the wheel's list of members says so.
    """
    names = Names(sources)
    there = [one for one in _PROTOTYPES if one in sources.modules]
    found = [name for one in there for name in _directly_in(one, names)]
    members = [sources.modules[one].member for one in there] or [f"{PACKAGE}/__init__.py"]
    places = [seen(file, member) for member in members]
    closed = names.closed_modules()
    shard.say("prototype_names", sorted(found), *places)
    shard.say("prototype_names_complete", all(one in closed for one in there), *places)


def say_demands(shard: Shard, file: WheelFile, sources: Sources) -> None:
    """State which functions refuse GPUs below which SM, each with its line and words."""
    demands = [one for module in sources.modules.values() for one in demands_of(module)]
    places = [seen(file, one.member, line=one.line, symbol=one.symbol) for one in demands]
    root = seen(file, f"{PACKAGE}/__init__.py")
    plain = [{"function": one.function, "sm": one.sm, "text": one.text} for one in demands]
    shard.say("gpu_demands", plain, *(places or [root]))


def _directly_in(module: str, names: Names) -> list[str]:
    return sorted(one for one in names.public() if one.rpartition(".")[0] == module)
