"""Source files of an installed package: read with bounds, parsed when asked for.

An installed file may be anything: a FIFO, a device, gigabytes, no text at all. Only regular files
of a bounded size are opened, and what does not parse is as good as not there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from qdoctor.sources.modules import UNPARSABLE, Module, Sources, module_name, parsed

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 2 << 20
"""Bytes; the largest module of torch has some 500 KB, and what is larger nobody wrote by hand."""

MOST = 32 << 20
"""Bytes of one package that are parsed: what importing it leads to has a few MB."""


class Unreadable(Exception):  # noqa: N818 - it names the file's state, not a failure of ours
    """A file that is no source text of a sensible size; says why."""


def read(path: Path, largest: int = LARGEST) -> bytes:
    """Read a regular file whole. Raises ``Unreadable``; never waits, never follows a device."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a FIFO must not wait
    except (OSError, ValueError) as error:
        raise Unreadable(getattr(error, "strerror", None) or str(error)) from error
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("no regular file")
        if status.st_size > largest:
            raise Unreadable(f"larger than {largest >> 20} MiB")
        try:
            return file.read(largest + 1)
        except OSError as error:
            raise Unreadable(error.strerror or str(error)) from error


class InstalledSources(Sources):
    """Modules of one top-level package as they lie on disk; each is parsed when asked for."""

    def __init__(self, package: str, members: Mapping[str, Path]) -> None:
        """``members``: member name (``a/b.py``) -> file."""
        self.package = package
        self.unparsed: list[str] = []
        parsed_ones = _Parsed(members, self.unparsed)
        self.modules: Mapping[str, Module] = parsed_ones
        self.read = parsed_ones.read
        """The members that were parsed so far."""
        self.names = frozenset(map(module_name, members))

    def _all_names(self) -> frozenset[str]:
        return self.names


class _Parsed(Mapping[str, Module]):
    """Modules by name; one that cannot be read or parsed is not among them, and is named."""

    def __init__(self, members: Mapping[str, Path], unparsed: list[str]) -> None:
        self._members = {module_name(member): (member, path) for member, path in members.items()}
        self._known: dict[str, Module | None] = {}
        self.read: list[str] = []
        self._unparsed = unparsed
        self._left = MOST

    def __getitem__(self, name: str) -> Module:
        if name not in self._known:
            self._known[name] = self._parse(*self._members[name])
        module = self._known[name]
        if module is None:
            raise KeyError(name)
        return module

    def _parse(self, member: str, path: Path) -> Module | None:
        self.read.append(member)
        try:
            return Module.of(member, parsed(self._text(path)))
        except (Unreadable, *UNPARSABLE) as error:
            self._unparsed.append(f"{member}: {str(error)[:100] or type(error).__name__}")
            return None

    def _text(self, path: Path) -> bytes:
        text = read(path)
        self._left -= len(text)
        if self._left < 0:
            raise Unreadable(f"what its package holds beyond {MOST >> 20} MiB is left out")
        return text

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._members if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)
