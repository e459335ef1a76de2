"""What a torchao release holds: what it asks for, and the names of ``torchao.quantization``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.mining.every_wheel import default_wheel, say_metadata, say_platforms, say_pythons
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


def read(shard: Shard, files: Sequence[WheelFile], transport: Transport) -> None:
    """State everything about one torchao release."""
    file = default_wheel(files)
    with open_wheel(file, transport) as wheel:
        say_metadata(shard, wheel)
        folder = _READ.replace(".", "/")
        members = [n for n in wheel.names if n.startswith(f"{folder}/") and n.endswith(".py")]
        members.append(f"{PACKAGE}/__init__.py")
        say_names(shard, file, Sources(PACKAGE, {name: wheel.text(name) for name in members}))
    say_platforms(shard, files)
    say_pythons(shard, files)


def say_names(shard: Shard, file: WheelFile, sources: Sources) -> None:
    """State the names directly in ``torchao.quantization``, by which users quantize.

    ``quantization_names_complete``: there are no others, as far as the syntax trees tell.
    """
    names = Names(sources)
    found = [one for one in names.public() if one.rpartition(".")[0] == _READ]
    root = seen(file, sources.modules[_READ].member)
    shard.say("quantization_names", sorted(found), root)
    shard.say("quantization_names_complete", _READ in names.closed_modules(), root)
