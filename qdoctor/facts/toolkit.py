"""The CUDA toolkit that a build on this machine would use, by its files; nvcc is not started."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from qdoctor.facts import file_kinds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_VARIABLES = ("CUDA_HOME", "CUDA_PATH")
_DEFAULT = "usr/local/cuda"
_HEADERS = ("include/cuda_runtime_api.h", "targets/*/include/cuda_runtime_api.h")
_DEFINED = re.compile(rb"^#define\s+CUDART_VERSION\s+(\d{1,9})\b", re.MULTILINE)
_IN_TEXT = re.compile(r"(\d+\.\d+)")


def read_toolkit(
    environ: Mapping[str, str], *, root: Path = Path("/")
) -> tuple[str | None, str | None]:
    """CUDA version such as ``12.4`` and, where one is there that tells none, why it is unknown.

    The first of $CUDA_HOME, $CUDA_PATH, nvcc on PATH and /usr/local/cuda that tells its version is
    taken, as torch's extension builder looks for it; ``""`` where there is none at all.
    """
    silent: list[str] = []
    for folder in _places(environ, root):
        version = _version(folder)
        if version:
            return version, None
        silent.append(str(folder))
    if silent:
        return None, f"{', '.join(dict.fromkeys(silent))}: no file there states a CUDA version"
    return "", None


def _places(environ: Mapping[str, str], root: Path) -> Iterator[Path]:
    for name in _VARIABLES:
        if environ.get(name) and file_kinds.is_folder(Path(environ[name])):
            yield Path(environ[name])
    nvcc = shutil.which("nvcc", path=environ.get("PATH"))
    if nvcc:
        yield Path(os.path.realpath(nvcc)).parent.parent
    if file_kinds.is_folder(root / _DEFAULT):
        yield root / _DEFAULT


def _version(folder: Path) -> str | None:
    """Read version.json (since 11.1), version.txt (before), or the runtime's header (others)."""
    try:
        stated = json.loads((folder / "version.json").read_text(encoding="utf-8"))
        return _short(str(stated["cuda"]["version"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    try:
        return _short((folder / "version.txt").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return _from_header(folder)


def _short(text: str) -> str | None:
    found = _IN_TEXT.search(text)
    return found.group(1) if found else None


def _from_header(folder: Path) -> str | None:
    for pattern in _HEADERS:
        for header in sorted(folder.glob(pattern)):
            try:
                found = _DEFINED.search(header.read_bytes())
            except OSError:
                continue
            if found:
                return cuda_version(int(found.group(1)))
    return None


def cuda_version(number: int) -> str:
    """Spell CUDA's integer version, 1000 * major + 10 * minor (CUDA_VERSION): 12040 is 12.4."""
    return f"{number // 1000}.{number % 1000 // 10}"
