"""Native libraries of installed packages that link CUDA: the GPU code each holds, what it needs.

Read from their headers, none is loaded. A library counts that has a section for GPU code or needs
one of NVIDIA's libraries; bitsandbytes' are all named, because which of them are there decides
which it loads (those for other vendors' GPUs by name only).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from qdoctor.facts import candidates, file_kinds
from qdoctor.facts.inspected import Inspections
from qdoctor.facts.linking import Linker, is_cuda, windows_resolver
from qdoctor.model import NativeLibrary, Noun

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from qdoctor.facts.candidates import Candidate
    from qdoctor.facts.interpreter import Reading
    from qdoctor.model import Facts

PACKAGE = "bitsandbytes"
FILE = "libraries-2.json"
"""The number changes with what is read from a library, or how."""
_SUFFIXES = (".so", ".dll", ".dylib")
_NVIDIA = "nvidia-"
_DECIDING = {"torch": "lib/libtorch_python.so", "triton": "_C/libtriton.so"}
"""The library of a package whose glibc is the package's: its bindings, which load the rest."""
_KEPT = ("libbitsandbytes", "libtorch_python.", "libtriton.")
"""Beginnings of names that are read whether or not they link CUDA; of others that is forgotten."""
_OTHER_VENDORS = ("_rocm", "_hip", "_xpu", "_mps", "_hpu")


class Unreadable(Exception):  # noqa: N818 - it names the file's state, not a failure of ours
    """A library whose headers cannot be read; says why."""


class Inspected(Noun, frozen=True):
    """What one file held: ``library`` is None where it is none, or has nothing to do with CUDA."""

    library: NativeLibrary | None = None


class Read(msgspec.Struct, frozen=True):
    """The libraries, why some could not be read, and the libstdc++ that is given to them."""

    libraries: list[NativeLibrary]
    unread: dict[str, str]
    glibcxx: str | None = None


def read_native(reading: Reading, environ: Mapping[str, str]) -> Read:
    """Read the native libraries of every package that the examined interpreter could import."""
    found = candidates.find(reading, environ)
    unread = {"native": found.left_out} if found.left_out else {}
    libraries = _inspected([*found.candidates, *_of_bitsandbytes(reading)], environ, unread)
    if not any(library.needs for library in libraries):
        return Read(_known_to_have_none(reading, libraries), unread)
    wheels = [one.path for one in found.candidates if one.package.startswith(_NVIDIA)]
    libraries, glibcxx = _linked(libraries, wheels, reading, environ)
    return Read(_known_to_have_none(reading, libraries), unread, glibcxx)


def _of_bitsandbytes(reading: Reading) -> list[Candidate]:
    """List bitsandbytes' own folder: RECORD does not tell what a build has put there since."""
    folder = reading.folders.get(PACKAGE)
    return [
        candidates.Candidate(PACKAGE, f"{folder}/{path.name}")
        for path in (file_kinds.inside(Path(folder)) if folder else ())
        if path.name.endswith(_SUFFIXES)
    ]


def _inspected(
    found: Sequence[Candidate], environ: Mapping[str, str], unread: dict[str, str]
) -> list[NativeLibrary]:
    """Read each candidate once; those that cannot be read are named in ``unread``."""
    inspections: Inspections[Inspected] = Inspections(_inspect, environ, file=FILE, kind=Inspected)
    libraries: dict[str, NativeLibrary] = {}
    if inspections.is_empty:
        inspections.announce(one.path for one in found)
    for one in found:
        if one.path in libraries:
            continue
        name = one.path.rpartition("/")[2]
        bare = NativeLibrary(package=one.package, file=name, path=one.path)
        ours = one.package == PACKAGE
        if ours and any(word in name for word in _OTHER_VENDORS):
            libraries[one.path] = bare
            continue
        try:
            library = inspections.read(one.path).library
        except Unreadable as error:
            unread[f"native.{name}"] = str(error)
            if ours:
                libraries[one.path] = bare
            continue
        except (OSError, ValueError):  # it is not there; or a zero byte in its path
            continue
        if library is not None and (ours or _links_cuda(library)):
            libraries[one.path] = msgspec.structs.replace(
                library, package=one.package, path=one.path
            )
    inspections.keep()
    return list(libraries.values())


def _links_cuda(library: NativeLibrary) -> bool:
    return bool(library.sm or library.ptx) or any(map(is_cuda, library.needs or ()))


def _known_to_have_none(reading: Reading, found: list[NativeLibrary]) -> list[NativeLibrary]:
    """Say of an installed bitsandbytes that it holds no library at all, where that is so."""
    if PACKAGE in reading.folders and not any(one.package == PACKAGE for one in found):
        return [*found, NativeLibrary(package=PACKAGE, file="")]
    return found


def _linked(
    libraries: Sequence[NativeLibrary],
    wheels: Sequence[str],
    reading: Reading,
    environ: Mapping[str, str],
) -> tuple[list[NativeLibrary], str | None]:
    """Say of each library which files it would be given; ``wheels``: libraries of NVIDIA's."""
    if sys.platform == "win32":
        folders = [os.path.dirname(path) for path in wheels]  # noqa: PTH120
        if torch := reading.folders.get("torch"):
            folders.insert(0, f"{torch}/lib")
        resolve = windows_resolver(dict.fromkeys(folders), environ)
        return [
            msgspec.structs.replace(one, resolved=resolve(one.path or "", one.needs or ()))
            for one in libraries
        ], None
    if not sys.platform.startswith("linux"):
        return list(libraries), None
    linker = Linker(reading, environ, wheels)
    linked = [_listed(_with_files(one, linker)) for one in libraries]
    glibcxx = linker.glibcxx()
    linker.keep()
    return linked, glibcxx


def _with_files(library: NativeLibrary, linker: Linker) -> NativeLibrary:
    if library.needs is None or library.path is None:
        return library
    resolved, shadowed = linker.resolved(library.path)
    return msgspec.structs.replace(library, resolved=resolved, shadowed=shadowed or None)


def _listed(library: NativeLibrary) -> NativeLibrary:
    """Shorten what is said of NVIDIA's own libraries: their code, and what they lack."""
    if not (library.package or "").startswith(_NVIDIA):
        return library
    lacking = {need: "" for need, file in (library.resolved or {}).items() if not file}
    return NativeLibrary(
        package=library.package,
        file=library.file,
        sm=library.sm,
        ptx=library.ptx,
        path=library.path,
        resolved=lacking or None,
        shadowed=library.shadowed,
    )


def read_deciding(facts: Facts, packages: Iterable[str], environ: Mapping[str, str]) -> Facts:
    """Add what the deciding library of each installed package needs: torch's and triton's.

    The matrix knows that for released versions, so they are read for ``packages`` only: those in a
    version that it does not know. One that cannot be read is left out, so that what depends on it
    stays unknown.
    """
    files = {found.name: found.file for found in reversed(facts.packages_found or ())}
    wanted = {one: file for one in packages if one in _DECIDING and (file := files.get(one))}
    if not wanted:
        return facts
    inspections: Inspections[Inspected] = Inspections(_inspect, environ, file=FILE, kind=Inspected)
    named = {one.path for one in facts.native or ()}
    added = [
        msgspec.structs.replace(library, package=package, path=str(path))
        for package, file in wanted.items()
        if str(path := Path(file).parent / _DECIDING[package]) not in named
        and (library := _attempt(inspections, path))
    ]
    inspections.keep()
    return msgspec.structs.replace(facts, native=[*(facts.native or []), *added])


def _attempt(inspections: Inspections[Inspected], path: Path) -> NativeLibrary | None:
    try:
        return inspections.read(path).library
    except (Unreadable, OSError):
        return None


def _inspect(path: Path) -> Inspected:
    """Read one file; raises ``Unreadable`` for a library that is cut short or lies."""
    # Here, because the readers take longer to import than all that is remembered to load.
    from qdoctor.binaries import NotALibrary, UnreadableBinary, read_library  # noqa: PLC0415

    try:
        library = read_library(path)
    except NotALibrary:
        return Inspected()
    except UnreadableBinary as error:
        raise Unreadable(str(error)) from error
    if not (library.gpu or any(map(is_cuda, library.needs)) or path.name.startswith(_KEPT)):
        return Inspected()
    return Inspected(
        NativeLibrary(
            file=path.name,
            sm=list(library.sm),
            ptx=list(library.ptx),
            needs=list(library.needs),
            glibc=library.glibc,
            glibcxx=library.glibcxx,
            ptx_isa=dict(library.ptx_isa) or None,
        )
    )
