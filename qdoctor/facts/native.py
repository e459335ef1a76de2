"""Native libraries of bitsandbytes: which CUDA code each holds and what it needs, by its bytes."""

from __future__ import annotations

from pathlib import Path

from qdoctor.binaries import UnreadableBinary, read_library
from qdoctor.model import NativeLibrary

PACKAGE = "bitsandbytes"
_SUFFIXES = {".so", ".dll", ".dylib"}


def read_native(folder: Path) -> tuple[list[NativeLibrary], dict[str, str]]:
    """Read the libraries in bitsandbytes' folder; those that cannot be read come with a reason.

    ``sm`` and ``ptx`` hold names such as ``sm_80``. Headers only: no code of them runs.
    """
    libraries, unread = [], {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix not in _SUFFIXES:
            continue
        try:
            libraries.append(_read(path))
        except (UnreadableBinary, OSError) as error:
            libraries.append(NativeLibrary(package=PACKAGE, file=path.name))
            unread[f"native.{path.name}"] = str(error)
    return libraries, unread


def _read(path: Path) -> NativeLibrary:
    library = read_library(path)
    return NativeLibrary(
        package=PACKAGE,
        file=path.name,
        sm=list(library.sm),
        ptx=list(library.ptx),
        needs=list(library.needs),
        glibc=library.glibc,
    )
