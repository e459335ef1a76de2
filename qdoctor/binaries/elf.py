"""ELF libraries: what they need, and where their fat binaries lie. Read with pyelftools."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from qdoctor.binaries.errors import UnreadableBinary
from qdoctor.binaries.fatbin import SECTIONS
from qdoctor.binaries.window import Source, Window, opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAGIC = b"\x7fELF"
_MOST = 1_000_000  # entries of one table: far above any real library, far below an endless loop
_LIES = (ArithmeticError, AssertionError, LookupError, TypeError, ValueError, MemoryError)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Elf:
    """``needs``: DT_NEEDED in order; ``glibc``, ``glibcxx``: highest symbol version asked for.

    ``glibc`` is ``""`` for a library that asks for none (a static or musl one); ``fatbins`` are
    (offset, length) in bytes; ``machine`` is ``x86_64``, ``aarch64`` or the ELF name.
    """

    machine: str
    needs: tuple[str, ...]
    glibc: str
    glibcxx: str
    fatbins: tuple[tuple[int, int], ...]


@contextmanager
def _parsed(file: Window) -> Iterator[Any]:
    """Open with pyelftools; whatever lies in the file become ``UnreadableBinary``."""
    from elftools.common.exceptions import ELFError  # noqa: PLC0415 - kept off the start-up path
    from elftools.construct import ConstructError  # noqa: PLC0415
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415

    try:
        elf = ELFFile(file)
        if elf.num_sections() > _MOST or elf["e_shentsize"] > 2**12:
            raise UnreadableBinary(f"the ELF header claims {elf.num_sections()} sections")
        yield elf
    except (ELFError, ConstructError, *_LIES) as error:
        raise UnreadableBinary(f"not a readable ELF library: {error!r:.200}") from error


def _bounded(items: Iterable[_T], what: str) -> Iterator[_T]:
    """Pass ``items`` on; a table that never ends is a lie."""
    for number, item in enumerate(islice(items, _MOST + 1)):
        if number == _MOST:
            raise UnreadableBinary(f"more than {_MOST} {what}")
        yield item


def read_elf(source: Source) -> Elf:
    """Read what a library needs. Raises ``UnreadableBinary`` for what is not a sound ELF file."""
    with opened(source) as file, _parsed(file) as elf:
        sections = list(_bounded(elf.iter_sections(), "sections"))
        versions = list(_needed_versions(sections))
        return Elf(
            machine=_machine(str(elf["e_machine"])),
            needs=tuple(_needed(elf)),
            glibc=highest(versions, "GLIBC"),
            glibcxx=highest(versions, "GLIBCXX"),
            fatbins=tuple(
                (section["sh_offset"], section["sh_size"])
                for section in sections
                if section.name in SECTIONS
            ),
        )


def exported_symbols(source: Source) -> frozenset[str]:
    """Names of the dynamic symbols that a library defines. Raises ``UnreadableBinary``."""
    with opened(source) as file, _parsed(file) as elf:
        table = elf.get_section_by_name(".dynsym")
        if table is None:
            return frozenset()
        return frozenset(
            symbol.name
            for symbol in _bounded(table.iter_symbols(), "symbols")
            if symbol["st_shndx"] != "SHN_UNDEF" and symbol.name
        )


def highest(versions: Iterable[str], prefix: str) -> str:
    """Give the highest ``X.Y`` of the versions ``PREFIX_X.Y``; ``""`` where there is none."""
    numbers = [
        tuple(map(int, found[1].split(".")))
        for version in versions
        if (found := re.fullmatch(rf"{prefix}_(\d{{1,4}}(?:\.\d{{1,4}})*)", version))
    ]
    return ".".join(map(str, max(numbers, default=())))


def _machine(name: str) -> str:
    return {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64"}.get(name, name)


def _needed(elf: Any) -> Iterator[str]:  # noqa: ANN401 - pyelftools has no types
    for segment in _bounded(elf.iter_segments("PT_DYNAMIC"), "segments"):
        for tag in _bounded(segment.iter_tags("DT_NEEDED"), "dynamic tags"):
            yield str(tag.needed)


def _needed_versions(sections: list[Any]) -> Iterator[str]:
    for section in sections:
        if section["sh_type"] != "SHT_GNU_verneed":
            continue
        for _library, auxiliaries in _bounded(section.iter_versions(), "needed libraries"):
            for auxiliary in _bounded(auxiliaries, "needed versions"):
                yield str(auxiliary.name)
