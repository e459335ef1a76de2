"""Reads the source files of one distribution for the names of triton that they use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qdoctor.model import TritonUse
from qdoctor.sources.files import InstalledSources, Unreadable, read
from qdoctor.sources.modules import module_name
from qdoctor.sources.reach import reached

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from qdoctor.sources.reach import Reached

TRITON = "triton"
_MOST_SAID = 5
_IMPORTS = re.compile(rb"\bimport\b[^\n]*\btriton\b|\bfrom\s+triton\b")


def uses_in(
    package: str, files: Mapping[str, Path]
) -> tuple[list[TritonUse], list[Path], list[str]]:
    """Read ``files`` (member -> path): the uses, the files that they depend on, what is unread."""
    uses: list[TritonUse] = []
    counted: list[Path] = []
    unread: list[str] = []
    for top, members in sorted(_by_package(files).items()):
        mentioning = {member for member, path in members.items() if _mentions(path, unread, member)}
        if not mentioning:
            continue
        sources = InstalledSources(top, members)
        uses += _grouped(package, reached(sources, TRITON, map(module_name, mentioning)))
        counted += [members[name] for name in sources.read]
        unread += [said for said in sources.unparsed if said.split(":")[0] in mentioning]
    return uses, counted, _shortened(unread)


def _by_package(files: Mapping[str, Path]) -> dict[str, dict[str, Path]]:
    tops: dict[str, dict[str, Path]] = {}
    for member, path in files.items():
        top = member.split("/")[0].removesuffix(".py")
        if top.isidentifier():
            tops.setdefault(top, {})[member] = path
    return tops


def _mentions(path: Path, unread: list[str], member: str) -> bool:
    """Say whether a file imports triton: a name is only ever reached through an import."""
    try:
        text = read(path)
        return TRITON.encode() in text and bool(_IMPORTS.search(text))
    except Unreadable as error:
        unread.append(f"{member}: {error}")
        return False


def _grouped(package: str, found: list[Reached]) -> list[TritonUse]:
    groups: dict[tuple[str, str], dict[str, int]] = {}
    for use in found:
        groups.setdefault((use.member, use.when), {})[use.name] = use.line
    return [
        TritonUse(package=package, file=member, names=names, when=when)  # type: ignore[arg-type]
        for (member, when), names in groups.items()
    ]


def _shortened(said: list[str]) -> list[str]:
    more = len(said) - _MOST_SAID
    return said if more <= 0 else [*said[:_MOST_SAID], f"and {more} more files"]
