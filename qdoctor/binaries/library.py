"""One native library, whatever its format: the SMs and PTX it holds and what it needs."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qdoctor.binaries import elf, fatbin, macho, pe
from qdoctor.binaries.errors import NotALibrary, UnreadableBinary
from qdoctor.binaries.window import Source, Window, opened

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Library:
    """What a library's bytes say.

    ``sm``, ``ptx``: ``("sm_70", ...)`` ascending, empty for a library without GPU code; ``needs``:
    sonames, DLLs or dylibs in order; ``glibc``, ``glibcxx``: highest symbol version asked for,
    ``None`` where the format has none; ``format`` is ``elf``, ``pe`` or ``macho``. ``ptx_isa``
    gives for each SM of ``ptx`` the newest PTX ISA version (``("sm_90", "8.7")``). ``gpu`` says
    whether there is a section for GPU code. ``soname``, ``rpath``, ``runpath`` and
    ``glibcxx_given`` as of ``Elf``.
    """

    format: str
    machine: str
    sm: tuple[str, ...]
    ptx: tuple[str, ...]
    needs: tuple[str, ...]
    glibc: str | None = None
    glibcxx: str | None = None
    ptx_isa: tuple[tuple[str, str], ...] = ()
    gpu: bool = False
    soname: str = ""
    rpath: tuple[str, ...] | None = None
    runpath: tuple[str, ...] | None = None
    glibcxx_given: str = ""


def read_library(source: Source) -> Library:
    """Read a library from a path or a seekable reader, headers only.

    Raises ``UnreadableBinary`` where it is truncated, lies about itself, or is no library.
    """
    with opened(source) as file:
        magic = file.read_at(0, 4, "the magic number")
        try:
            if magic == elf.MAGIC:
                return _from_elf(file)
            if magic[:2] == pe.MAGIC:
                return _from_pe(file)
            if magic in macho.MAGICS:
                macho_file = macho.read_macho(file)
                return Library("macho", macho_file.machine, (), (), macho_file.needs)
        except struct.error as error:
            raise UnreadableBinary(f"a header is cut short: {error}") from error
        raise NotALibrary(f"not a native library: it starts with {magic!r}")


def _from_elf(file: Window) -> Library:
    found = elf.read_elf(file)
    sm, ptx, isa = _gpu_code(file, found.fatbins)
    return Library(
        format="elf",
        machine=found.machine,
        sm=sm,
        ptx=ptx,
        needs=found.needs,
        glibc=found.glibc,
        glibcxx=found.glibcxx,
        ptx_isa=isa,
        gpu=bool(found.fatbins),
        soname=found.soname,
        rpath=found.rpath,
        runpath=found.runpath,
        glibcxx_given=found.glibcxx_given,
    )


def _from_pe(file: Window) -> Library:
    found = pe.read_pe(file)
    sm, ptx, isa = _gpu_code(file, found.fatbins)
    return Library("pe", found.machine, sm, ptx, found.needs, ptx_isa=isa, gpu=bool(found.fatbins))


def _gpu_code(
    file: Window, sections: Iterable[tuple[int, int]]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Give SMs with machine code, SMs with PTX, and the newest PTX ISA of each of the latter."""
    found = fatbin.entries(file, sections)
    found.sort(key=lambda entry: (entry.sm, entry.only, entry.version))
    ptx = {
        entry.name: f"{entry.version[0]}.{entry.version[1]}"  # the newest stands last
        for entry in found
        if entry.kind == fatbin.PTX
    }
    cubins = dict.fromkeys(entry.name for entry in found if entry.kind == fatbin.CUBIN)
    return tuple(cubins), tuple(ptx), tuple(ptx.items())
