"""What a torch release's default build holds: its triton pin, CUDA version and SM list."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from qdoctor.binaries import UnreadableBinary, read_library
from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.every_wheel import default_wheel, say_metadata, say_platforms, say_pythons
from qdoctor.mining.shard import Shard, seen
from qdoctor.mining.torch_builds import say_builds
from qdoctor.mining.wheel import Wheel, open_wheel
from qdoctor.sources.modules import parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.mining.http import Transport
    from qdoctor.mining.index import WheelFile

PACKAGE = "torch"
FIRST = "1.13.0"
_VERSION = "torch/version.py"
_BINDINGS = "torch/lib/libtorch_python.so"
# Without a separator before it: compilers store short texts one right after the other.
_FLAGS = re.compile(rb"(?:sm|compute)_\d+[af]?(?: (?:sm|compute)_\d+[af]?)+(?=\0)")
_PYTHONS = tuple(f"3.{minor}" for minor in range(7, 20))
_LINUX = {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"}


def read(shard: Shard, files: Sequence[WheelFile], transport: Transport) -> None:
    """State everything about one torch release, as its default Linux x86_64 wheel says it."""
    with open_wheel(default_wheel(files), transport) as wheel:
        say_metadata(shard, wheel)
        _say_triton_pin(shard, wheel)
        say_cuda(shard, wheel)
        say_bindings(shard, wheel)
    say_builds(shard)
    say_platforms(shard, files)
    say_pythons(shard, files)


def _say_triton_pin(shard: Shard, wheel: Wheel) -> None:
    """State which triton Linux x86_64 requires, on whichever Python; ``""`` where none is.

    For which Pythons that holds is in ``requires_dist``.
    """
    pins = [
        requirement
        for line in shard.facts["requires_dist"]
        if (requirement := Requirement(line)).name == "triton" and _on_linux(requirement)
    ]
    place = seen(wheel.file, wheel.metadata_member(), symbol=str(pins[0]) if pins else None)
    shard.say("triton_pin", str(pins[0].specifier) if pins else "", place)


def _on_linux(requirement: Requirement) -> bool:
    """Say whether some Python on Linux x86_64 requires it, without any extra asked for."""
    environments = (
        {**_LINUX, "python_version": python, "python_full_version": f"{python}.0", "extra": ""}
        for python in _PYTHONS
    )
    marker = requirement.marker
    return marker is None or any(marker.evaluate(environment) for environment in environments)


def say_cuda(shard: Shard, wheel: Wheel) -> None:
    """State the CUDA version of the build; ``""`` for a CPU build."""
    for node in parsed(wheel.text(_VERSION)).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and target.id == "cuda" and isinstance(value, ast.Constant):
            place = seen(wheel.file, _VERSION, line=node.lineno, symbol="cuda")
            shard.say("cuda", str(value.value or ""), place)


def say_bindings(shard: Shard, wheel: Wheel) -> None:
    """State the SM list (``torch.cuda.get_arch_list()``) and the glibc of torch's bindings."""
    with wheel.opened(_BINDINGS) as stream:
        lists = sorted({found.decode() for found in _FLAGS.findall(stream.read())})
        try:
            library = read_library(stream)
        except UnreadableBinary as error:
            raise UnreadableRelease(f"{wheel.file.name}: {_BINDINGS}: {error}") from error
    if len(lists) > 1:
        raise UnreadableRelease(f"{wheel.file.name}: {_BINDINGS} has several SM lists: {lists}")
    if lists:
        shard.say("sm", lists[0].split(), seen(wheel.file, _BINDINGS, symbol=lists[0]))
    glibc = seen(wheel.file, _BINDINGS, symbol=f"GLIBC_{library.glibc}")
    shard.say("glibc", library.glibc, glibc)
