"""The native libraries of a wheel: for which CUDA, with which SMs, needing what."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from qdoctor.binaries import Library, UnreadableBinary, read_library
from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.shard import seen

if TYPE_CHECKING:
    from qdoctor.mining.wheel import Wheel

_LIBRARY = re.compile(r"(?P<stem>lib[a-z]+)_?(?P<runtime>cuda|cpu|rocm|hip|xpu|mps)?(?P<digits>\d*)"
                      r"(?P<without>_nocublaslt)?(?P<for>\d*)\.(so|dll|dylib)")  # fmt: skip
_SYSTEMS = {"elf": "linux", "pe": "windows", "macho": "macos"}


def libraries(wheel: Wheel, package: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Read every native library of ``package`` in a wheel: (what it is, where it was read)."""
    members = [n for n in wheel.names if re.fullmatch(rf"{package}/[^/]+\.(so|dll|dylib)", n)]
    return [(_library(wheel, member), seen(wheel.file, member)) for member in members]


def _library(wheel: Wheel, member: str) -> dict[str, Any]:
    with wheel.opened(member) as stream:
        try:
            library = read_library(stream)
        except UnreadableBinary as error:
            raise UnreadableRelease(f"{wheel.file.name}: {member}: {error}") from error
    file = member.rsplit("/", 1)[-1]
    return {
        "platform": f"{_SYSTEMS[library.format]}_{library.machine}",
        "file": file,
        **_from_name(file),
        **_from_bytes(library),
    }


def _from_bytes(library: Library) -> dict[str, Any]:
    return {
        "sm": list(library.sm),
        "ptx": list(library.ptx),
        "glibc": library.glibc,
        "glibcxx": library.glibcxx,
        "needs": list(library.needs),
    }


def _from_name(file: str) -> dict[str, Any]:
    """Read a file name as its package does: ``libbitsandbytes_cuda121_nocublaslt.so``.

    ``cuda`` is the CUDA version it is built for, None for another runtime; ``cublaslt`` is False
    for the builds without cuBLASLt.
    """
    found = _LIBRARY.fullmatch(file)
    runtime = (found["runtime"] if found else None) or "cpu"
    digits = found["digits"] if found else ""
    cuda = f"{digits[:-1]}.{digits[-1]}" if runtime == "cuda" and digits else None
    facts: dict[str, Any] = {"cuda": cuda, "runtime": runtime}
    if runtime == "cuda":
        facts["cublaslt"] = not (found and found["without"])
    elif digits:
        facts["runtime_version"] = digits
    return facts
