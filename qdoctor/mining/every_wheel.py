"""What every package's wheels say in the same way: metadata, platforms, the wheel to read first."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.shard import Shard, seen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.mining.index import WheelFile
    from qdoctor.mining.wheel import Wheel

LINUX = re.compile(r"(many)?linux.*_x86_64|any")


def default_wheel(files: Sequence[WheelFile]) -> WheelFile:
    """Choose the wheel that stands for a release: Linux x86_64, the newest ordinary CPython.

    Raises ``UnreadableRelease`` for a release without a Linux x86_64 wheel.
    """
    fitting = [file for file in files if any(LINUX.fullmatch(p) for p in file.platforms)]
    if not fitting:
        raise UnreadableRelease("the release has no wheel for Linux x86_64")
    return max(fitting, key=lambda file: (*_python(file), file.name))


def _python(file: WheelFile) -> tuple[bool, bool, tuple[int, ...]]:
    """Rank a wheel's interpreter: CPython first, free-threaded builds last, then by version."""
    tag = min(file.tags, key=str)
    digits = re.fullmatch(r"\D+(\d)(\d*)", tag.interpreter)
    version = (int(digits[1]), int(digits[2] or 0)) if digits else (0, 0)
    return not tag.interpreter.startswith("pp"), not tag.abi.endswith("t"), version


def say_metadata(shard: Shard, wheel: Wheel) -> None:
    """State what METADATA requires: ``requires_python`` and ``requires_dist``."""
    member = wheel.metadata_member()
    headers = wheel.metadata()
    place = seen(wheel.file, member)
    shard.say("requires_python", str(headers.get("Requires-Python") or ""), place)
    shard.say("requires_dist", [str(r) for r in headers.get_all("Requires-Dist") or []], place)


def say_platforms(shard: Shard, files: Sequence[WheelFile]) -> None:
    """State the platform tags of the release's wheels, with one wheel as evidence for each."""
    first: dict[str, WheelFile] = {}
    for file in sorted(files, key=lambda each: each.name):
        for platform in sorted(file.platforms):
            first.setdefault(platform, file)
    shard.say("platforms", sorted(first), *(seen(first[tag], symbol=tag) for tag in sorted(first)))


def say_pythons(shard: Shard, files: Sequence[WheelFile]) -> None:
    """State the Python tags of the release's Linux x86_64 wheels.

    ``cp311``, ``cp314t`` without a GIL, ``cp312-abi3`` for 3.12 and newer, ``py3`` for any.
    """
    found: dict[str, WheelFile] = {}
    for file in sorted(files, key=lambda each: each.name):
        if any(LINUX.fullmatch(platform) for platform in file.platforms):
            for tag in sorted(file.tags, key=str):
                kind = "-abi3" if tag.abi == "abi3" else "t" if tag.abi.endswith("t") else ""
                found.setdefault(tag.interpreter + kind, file)
    shard.say("pythons", sorted(found), *(seen(found[tag], symbol=tag) for tag in sorted(found)))
