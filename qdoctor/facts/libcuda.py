"""Which libcuda.so.1 the examined process would load, in the dynamic loader's order.

LD_LIBRARY_PATH, then the loader's cache, then the default folders (ld.so(8)); no library is opened.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from qdoctor.facts import file_kinds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SONAME = "libcuda.so.1"
_CACHE = "etc/ld.so.cache"
_DEFAULT_FOLDERS = (
    "lib64",
    "usr/lib64",
    "lib",
    "usr/lib",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
)
# Where drivers lie that a loader finds only when told: WSL, GKE, NixOS, Colab.
_TOLD_FOLDERS = (
    *("usr/lib/wsl/lib", "usr/local/nvidia/lib64", "run/opengl-driver/lib", "usr/lib64-nvidia"),
)
_VERSION = re.compile(r"libcuda\.so\.(\d+\.\d+(?:\.\d+)?)$")
_COMPAT_FOLDER = re.compile(r"/cuda-(\d+\.\d+)/compat/")
_IS_64_BIT = b"\x7fELF\x02"


def found_by_loader(environ: Mapping[str, str], root: Path = Path("/")) -> list[Path]:
    """Every libcuda.so.1 on the loader's way, the one it would load first; 64-bit ones only."""
    folders = [
        root / entry.lstrip("/")
        for entry in re.split("[:;]", environ.get("LD_LIBRARY_PATH", ""))
        if entry.startswith("/")
    ]
    paths = [folder / SONAME for folder in folders]
    paths += [root / path.lstrip("/") for path in _cached(root / _CACHE)]
    paths += [root / folder / SONAME for folder in _DEFAULT_FOLDERS]
    return [path for path in dict.fromkeys(paths) if _is_64_bit(path)]


def of_version(version: str, environ: Mapping[str, str], root: Path = Path("/")) -> Path | None:
    """Find the libcuda that came with the kernel driver ``version``, wherever the loader looks."""
    folders = [path.parent for path in found_by_loader(environ, root)]
    folders += [root / name for name in (*_DEFAULT_FOLDERS, *_TOLD_FOLDERS)]
    for folder in dict.fromkeys(folders):
        path = folder / f"libcuda.so.{version}"
        if _is_64_bit(path):
            return path
    return None


def elsewhere(environ: Mapping[str, str], root: Path = Path("/")) -> Path | None:
    """Find a libcuda.so.1 in a folder that drivers use and the loader was not told of."""
    found = {os.path.realpath(path) for path in found_by_loader(environ, root)}
    for name in _TOLD_FOLDERS:
        path = root / name / SONAME
        if _is_64_bit(path) and os.path.realpath(path) not in found:
            return path
    return None


def version_of(path: Path) -> str | None:
    """Driver version in the name of the file a libcuda.so.1 leads to; WSL's states none."""
    found = _VERSION.search(os.path.realpath(path))
    return found.group(1) if found else None


def compat_folder(path: Path) -> str | None:
    """CUDA version of the cuda-compat folder that a libcuda lies in, ``""`` when it states none."""
    real = os.path.realpath(path)
    stated = _COMPAT_FOLDER.search(real)
    if stated:
        return stated.group(1)
    return "" if "compat" in Path(real).parent.name else None


def _cached(cache: Path) -> Iterator[str]:
    """Paths that the loader's cache has for libcuda.so.1, in its order; none of a damaged cache."""
    from qdoctor.binaries import read_ld_cache  # noqa: PLC0415 - where a driver is there only

    try:
        data = cache.read_bytes()
    except OSError:
        return
    if SONAME.encode() in data:
        yield from (entry.path for entry in read_ld_cache(data) if entry.name == SONAME)


def _is_64_bit(path: Path) -> bool:
    if not file_kinds.is_file(path):  # a FIFO would be waited for
        return False
    try:
        with path.open("rb") as file:
            return file.read(5) == _IS_64_BIT
    except OSError:
        return False
