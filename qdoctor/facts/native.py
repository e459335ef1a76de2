"""Native libraries of bitsandbytes: which CUDA code each holds and what it needs, by its bytes.

Libraries for other vendors' GPUs (ROCm, XPU) are only named: a library takes 6 ms to read, and no
question about CUDA depends on theirs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from qdoctor.facts.inspected import Inspections
from qdoctor.model import NativeLibrary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from qdoctor.model import Facts

PACKAGE = "bitsandbytes"
_SUFFIXES = {".so", ".dll", ".dylib"}
_DECIDING = {"torch": "lib/libtorch_python.so", "triton": "_C/libtriton.so"}
"""The library of a package whose glibc is the package's: its bindings, which load the rest."""
_OTHER_VENDORS = ("_rocm", "_hip", "_xpu", "_mps", "_hpu")


class Unreadable(Exception):  # noqa: N818 - it names the file's state, not a failure of ours
    """A library whose headers cannot be read; says why."""


def read_native(
    folder: Path, environ: Mapping[str, str]
) -> tuple[list[NativeLibrary], dict[str, str]]:
    """Read the libraries in bitsandbytes' folder; those that cannot be read come with a reason.

    ``sm`` and ``ptx`` hold names such as ``sm_80``. Headers only: no code of them runs.
    """
    libraries, unread = [], {}
    inspections = Inspections(_read, environ)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix not in _SUFFIXES:
            continue
        if any(word in path.name for word in _OTHER_VENDORS):
            libraries.append(NativeLibrary(package=PACKAGE, file=path.name))
            continue
        try:
            libraries.append(inspections.read(path))
        except (Unreadable, OSError) as error:
            libraries.append(NativeLibrary(package=PACKAGE, file=path.name))
            unread[f"native.{path.name}"] = str(error)
    inspections.keep()
    return libraries, unread


def read_deciding(facts: Facts, packages: Iterable[str], environ: Mapping[str, str]) -> Facts:
    """Add what the deciding library of each installed package needs: torch's and triton's.

    They are large, and the matrix knows them for released versions, so they are read for
    ``packages`` only: those in a version that it does not know. One that cannot be read is left
    out, so that what depends on it stays unknown.
    """
    files = {found.name: found.file for found in reversed(facts.packages_found or ())}
    wanted = {one: file for one in packages if one in _DECIDING and (file := files.get(one))}
    if not wanted:
        return facts
    inspections = Inspections(_read, environ)
    added = [
        msgspec.structs.replace(library, package=package)
        for package, file in wanted.items()
        if (library := _attempt(inspections, Path(file).parent / _DECIDING[package]))
    ]
    inspections.keep()
    return msgspec.structs.replace(facts, native=[*(facts.native or []), *added])


def _attempt(inspections: Inspections[NativeLibrary], path: Path) -> NativeLibrary | None:
    try:
        return inspections.read(path)
    except (Unreadable, OSError):
        return None


def _read(path: Path) -> NativeLibrary:
    # Here, because the readers take longer to import than all that is remembered to load.
    from qdoctor.binaries import UnreadableBinary, read_library  # noqa: PLC0415

    try:
        library = read_library(path)
    except UnreadableBinary as error:
        raise Unreadable(str(error)) from error
    return NativeLibrary(
        package=PACKAGE,
        file=path.name,
        sm=list(library.sm),
        ptx=list(library.ptx),
        needs=list(library.needs),
        glibc=library.glibc,
    )
