"""ELF libraries: what they need, where the loader is told to look, where fat binaries lie.

Program headers and the dynamic table tell what the loader reads, section names tell where the GPU
code is; some 2 KiB of a library of any size are read. Layout: System V ABI, chapters 4 and 5, and
the Linux Standard Base for the tables of symbol versions.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from qdoctor.binaries.errors import UnreadableBinary
from qdoctor.binaries.fatbin import SECTIONS
from qdoctor.binaries.window import Source, Window, opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAGIC = b"\x7fELF"
_MACHINES = {62: "x86_64", 183: "aarch64", 3: "i386", 40: "arm", 21: "ppc64", 243: "riscv"}
_MOST = 65_536  # entries of one table: far above any real library, far below an endless loop
_LONGEST = 65_536  # bytes of one string: a DT_RPATH may list dozens of folders
_MOST_TEXT = 4 << 20  # bytes of all strings: names may overlap, so that a small file holds many
_PT_LOAD, _PT_DYNAMIC = 1, 2
_NEEDED, _STRTAB, _STRSZ, _SONAME, _RPATH, _RUNPATH = 1, 5, 10, 14, 15, 29
_VERDEF, _VERDEFNUM, _VERNEED, _VERNEEDNUM = 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF


@dataclass(frozen=True)
class Elf:
    """What one ELF file says of itself.

    ``needs``: DT_NEEDED in order; ``glibc``, ``glibcxx``: highest symbol version asked for,
    ``""`` for a library that asks for none (a static or musl one); ``fatbins`` are (offset,
    length) in bytes; ``machine`` is ``x86_64``, ``aarch64`` or ``machine N``; ``rpath`` and
    ``runpath`` are the folders as written (``$ORIGIN/../lib``), ``None`` where there is no such
    tag; ``glibcxx_given`` is the highest GLIBCXX version that the library defines itself.
    """

    machine: str
    needs: tuple[str, ...]
    glibc: str
    glibcxx: str
    fatbins: tuple[tuple[int, int], ...]
    soname: str = ""
    rpath: tuple[str, ...] | None = None
    runpath: tuple[str, ...] | None = None
    glibcxx_given: str = ""


@dataclass(frozen=True)
class _Layout:
    """Structs of one class (32 or 64 bit) and byte order; sizes in bytes."""

    header: struct.Struct  # type, machine, version, entry, phoff, shoff, flags, ehsize, ...
    segment: struct.Struct
    section: struct.Struct
    dynamic: struct.Struct
    wide: bool
    order: str


def _layout(ident: bytes) -> _Layout:
    order = {1: "<", 2: ">"}.get(ident[5])
    if order is None or ident[4] not in {1, 2}:
        raise UnreadableBinary(f"ELF class {ident[4]} or byte order {ident[5]} does not exist")
    wide = ident[4] == 2  # noqa: PLR2004 - ELFCLASS64
    word = "Q" if wide else "I"
    return _Layout(
        header=struct.Struct(f"{order}16xHHI{word}{word}{word}IHHHHHH"),
        segment=struct.Struct(f"{order}IIQQQQQQ" if wide else f"{order}IIIIIIII"),
        section=struct.Struct(f"{order}II{word}{word}{word}{word}II{word}{word}"),
        dynamic=struct.Struct(f"{order}{word}{word}"),
        wide=wide,
        order=order,
    )


def read_elf(source: Source) -> Elf:
    """Read what a library needs. Raises ``UnreadableBinary`` for what is not a sound ELF file."""
    with opened(source) as file:
        try:
            return _Reader(file).elf()
        except (struct.error, ValueError, OverflowError) as error:
            raise UnreadableBinary(f"not a readable ELF library: {error}") from error


class _Reader:
    """Reads the tables of one file, each bounded by what the file really holds."""

    def __init__(self, file: Window) -> None:
        self._file = file
        ident = file.read_at(0, 16, "the ELF header")
        if ident[:4] != MAGIC:
            raise UnreadableBinary(f"not an ELF library: it starts with {ident[:4]!r}")
        self._layout = layout = _layout(ident)
        head = layout.header.unpack(file.read_at(0, layout.header.size, "the ELF header"))
        _, machine, _, _, phoff, shoff, _, _, phsize, phnum, shsize, shnum, shstr = head
        self._machine = _MACHINES.get(machine, f"machine {machine}")
        self._segments = list(_records(file, layout.segment, phoff, phsize, phnum, "segments"))
        self._section_table = shoff, shsize, shnum, shstr
        self._dynamic = self._read_dynamic()
        strings = self._tag(_STRTAB)
        self._strings = None if strings is None else self._offset(strings)
        self._strings_size = self._tag(_STRSZ) or 0
        self._text_left = _MOST_TEXT
        self._versions_left = _MOST

    def elf(self) -> Elf:
        needed = list(self._needed_versions())
        soname = self._tag(_SONAME)
        return Elf(
            machine=self._machine,
            needs=tuple(self._string(value) for tag, value in self._dynamic if tag == _NEEDED),
            glibc=highest(needed, "GLIBC"),
            glibcxx=highest(needed, "GLIBCXX"),
            fatbins=tuple(self._fatbins()),
            soname="" if soname is None else self._string(soname),
            rpath=self._folders(_RPATH),
            runpath=self._folders(_RUNPATH),
            glibcxx_given=highest(self._defined_versions(), "GLIBCXX"),
        )

    def _read_dynamic(self) -> list[tuple[int, int]]:
        table: list[tuple[int, int]] = []
        for at, size in islice(self._ranges(_PT_DYNAMIC), 1):  # a loader knows one
            data = self._file.read_at(at, size, "the dynamic table")
            whole = len(data) - len(data) % self._layout.dynamic.size
            for tag, value in self._layout.dynamic.iter_unpack(data[:whole]):
                if tag == 0:
                    break
                table.append((tag, value))
                if len(table) > _MOST:
                    raise UnreadableBinary(f"more than {_MOST} dynamic tags")
        return table

    def _ranges(self, kind: int) -> Iterator[tuple[int, int]]:
        """Give (offset, size) in the file of the segments of one kind."""
        for segment in self._segments:
            if segment[0] == kind:
                yield (segment[2], segment[5]) if self._layout.wide else (segment[1], segment[4])

    def _offset(self, address: int) -> int:
        """Turn an address of the loaded library into an offset in its file."""
        for segment in self._segments:
            if segment[0] != _PT_LOAD:
                continue
            wide = self._layout.wide
            offset, start, size = (
                (segment[2], segment[3], segment[5])
                if wide
                else (segment[1], segment[2], segment[4])
            )
            if start <= address < start + size:
                return int(address - start + offset)
        raise UnreadableBinary(f"no segment holds the address {address:#x}")

    def _tag(self, wanted: int) -> int | None:
        return next((value for tag, value in self._dynamic if tag == wanted), None)

    def _string(self, at: int) -> str:
        """Read one string of the dynamic string table, in growing pieces."""
        if self._strings is None or at >= self._strings_size:
            raise UnreadableBinary(f"a name lies at {at}, outside of the string table")
        left = min(self._strings_size - at, _LONGEST)
        for size in (128, 4096, _LONGEST):
            self._file.seek(self._strings + at)
            data = self._file.read(min(size, left))
            if b"\0" in data:
                name = data[: data.index(b"\0")]
                self._text_left -= len(name)
                if self._text_left < 0:
                    raise UnreadableBinary(f"more than {_MOST_TEXT} bytes of names")
                return name.decode("utf-8", "replace")
        raise UnreadableBinary(f"the name at {at} of the string table has no end")

    def _folders(self, tag: int) -> tuple[str, ...] | None:
        at = self._tag(tag)
        return None if at is None else tuple(self._string(at).split(":"))

    def _needed_versions(self) -> Iterator[str]:
        """Walk the table of needed versions: a list of libraries, each with a list of versions."""
        for at in self._chain(_VERNEED, _VERNEEDNUM, "HHIII", (3, 4)):
            yield from self._versions(at, "IHHII", name=3, step=4)

    def _defined_versions(self) -> Iterator[str]:
        for at in self._chain(_VERDEF, _VERDEFNUM, "HHHHIII", (5, 6)):
            yield from self._versions(at, "II", name=0, step=1)

    def _chain(
        self, table: int, count: int, form: str, links: tuple[int, int]
    ) -> Iterator[tuple[int, int]]:
        """Give (offset, number) of each entry's own list; ``links``: fields of list and next."""
        address, number = self._tag(table), self._tag(count) or 0
        if address is None or not number:
            return
        entry = struct.Struct(self._layout.order + form)
        at = self._offset(address)
        numbers = 3 if form.startswith("HHHH") else 1  # vd_cnt is the fourth field, vn_cnt second
        for _ in range(min(number, _MOST)):
            fields = entry.unpack(self._file.read_at(at, entry.size, "a symbol version"))
            yield at + fields[links[0]], fields[numbers]
            if not fields[links[1]]:
                return
            at += fields[links[1]]

    def _versions(
        self, start: tuple[int, int], form: str, *, name: int, step: int
    ) -> Iterator[str]:
        entry = struct.Struct(self._layout.order + form)
        at, number = start
        for _ in range(number):
            self._versions_left -= 1
            if self._versions_left < 0:
                raise UnreadableBinary(f"more than {_MOST} symbol versions")
            fields = entry.unpack(self._file.read_at(at, entry.size, "a symbol version"))
            yield self._string(fields[name])
            if not fields[step]:
                return
            at += fields[step]

    def _fatbins(self) -> Iterator[tuple[int, int]]:
        offset, size, number, names = self._section_table
        if not offset or not number:
            return
        sections = list(
            _records(self._file, self._layout.section, offset, size, number, "sections")
        )
        if names >= len(sections):
            return
        start, length = sections[names][4], sections[names][5]
        table = self._file.read_at(start, length, "the section names")
        wanted = [name.encode() + b"\0" for name in SECTIONS]
        for section in sections:
            at = section[0]
            named = any(table.startswith(name, at) for name in wanted)
            if named and section[1] != 8:  # noqa: PLR2004 - NOBITS
                yield section[4], section[5]


def _records(  # noqa: PLR0913, PLR0917 - a table has these parts
    file: Window, form: struct.Struct, at: int, size: int, number: int, what: str
) -> Iterator[tuple[int, ...]]:
    """Unpack a table of equally sized records, read at once."""
    if not number:
        return
    if size < form.size or number * size > _MOST * 64:
        raise UnreadableBinary(f"the ELF header claims {number} {what} of {size} bytes")
    data = file.read_at(at, number * size, f"the table of {what}")
    for start in range(0, len(data), size):
        yield form.unpack_from(data, start)


def highest(versions: Iterable[str], prefix: str) -> str:
    """Give the highest ``X.Y`` of the versions ``PREFIX_X.Y``; ``""`` where there is none."""
    numbers = [
        tuple(map(int, found[1].split(".")))
        for version in versions
        if (found := re.fullmatch(rf"{prefix}_(\d{{1,4}}(?:\.\d{{1,4}})*)", version))
    ]
    return ".".join(map(str, max(numbers, default=())))
