"""Whose CUDA library a text misses, and what brings it: torch's own, bitsandbytes', or another's.

A loader's text names the library, seldom the package that asked for it. The path of the file that
needs it says so, or the last call of the traceback, or that no other package is stated.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from qdoctor.model import Because, Finding, Fix
from qdoctor.rules.case import quoted
from qdoctor.rules.packages_in_text import asker
from qdoctor.rules.remedies import TORCH_BUILDS, pip, unset
from qdoctor.rules.torch_builds import offers, offers_of_major

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case, Signal

BNB = "bitsandbytes"
TORCH = "torch"
_ARM = {"aarch64", "arm64"}
_BOARD = "nvidia-jetpack"
_TABLE = "cuda_libraries"
_LIBRARY = re.compile(r"(?P<stem>lib[\w-]+?)(?:\.so(?:\.(?P<version>[\d.]*\d))?)?$")
_OF_TORCH = {TORCH, "nvidia", "functorch"}
_PATH = "LD_LIBRARY_PATH"
_PATHS = {"windows": "PATH", "macos": "DYLD_LIBRARY_PATH"}
_NAMES = ("library", "dll", "dll2", "symbol")
_DLL = re.compile(r"(?P<stem>[A-Za-z]+)64_(?P<version>\d+)\.dll$")
"""How CUDA's makers name a library on Windows: ``cublasLt64_12.dll`` is ``libcublasLt.so.12``."""
_GPU = "-gpu"
"""How packages call their build for CUDA, where it has a name of its own."""
_SOME = "a CUDA library"
_OPEN = "which package asked for the library is not told"


def is_anothers(case: Case, signal: Signal) -> bool:
    """Say whether a text about a CUDA library is known not to be about bitsandbytes'."""
    owner = owner_of(case, signal)
    return owner is not None and owner != BNB


def owner_of(case: Case, signal: Signal) -> str | None:
    """Name the package that misses the library; None for unknown."""
    if BNB in signal.line or "of_bnb" in signal.said:
        return BNB
    by_path = signal.said.get("owner") or signal.said.get("owner2")
    module = by_path or next(iter(signal.asked_by), None)
    if module in _OF_TORCH:
        return asker_beside_torch(signal) if not by_path and BNB in signal.asked_by else TORCH
    if module is not None:
        rows = case.matrix.table("python_modules")["rows"]
        named = str(rows.get(module, {}).get("package", module.replace("_", "-")))
        return f"{named}{_GPU}" if f"{named}{_GPU}" in _compiled(case) else named
    stated = case.machine.facts.packages or {}
    compiled = [name for name in stated if name in _compiled(case)]
    if stated.get(BNB) or not compiled:
        return None
    return compiled[0] if len(compiled) == 1 else None


def asker_beside_torch(signal: Signal) -> str | None:
    """Name the module that asked torch to open the library (torch.ops.load_library, ctypes)."""
    return asker(signal, TORCH)


def _compiled(case: Case) -> set[str]:
    """Name the packages that bring CUDA code of their own, bitsandbytes and triton left out."""
    return set(case.matrix.table(_TABLE)["with_cuda_code"])


def found_in(case: Case, name: str) -> Iterator[Finding]:
    """Report each text about a CUDA library that is not, or need not be, bitsandbytes'."""
    for signal in case.signals_of(name):
        owner = owner_of(case, signal)
        if owner == BNB:
            continue
        library = next((signal.said[one] for one in _NAMES if one in signal.said), _SOME)
        verb = "does not fit" if _mixed(signal) else "is not found"
        yield Finding(
            rule=name,
            severity="error" if owner == TORCH else "warning",
            title=f"{library} {verb}" + (f", which {owner} needs" if owner else ""),
            because=[quoted(signal), *_brings(case, signal)],
            fixes=list(_fixes(case, signal, owner, name)),
            undecided=None if _is_told(signal) or _nobody_else(signal) else _OPEN,
        )


def _mixed(signal: Signal) -> bool:
    """Say whether the text is about two libraries that do not go together."""
    return not {"library", "dll", "dll2"} & signal.said.keys()


def _is_told(signal: Signal) -> bool:
    """Say whether the text itself tells who asked, by a path or a call."""
    return bool({"owner", "owner2"} & signal.said.keys() or signal.asked_by)


def _nobody_else(signal: Signal) -> bool:
    """Say whether bitsandbytes is out of the question: its libraries need no such file."""
    return BNB_RULE not in signal.rules


def _row(case: Case, signal: Signal) -> tuple[dict[str, Any] | None, str | None]:
    """Return the table's row of the text's library, and the version in the file's name."""
    dll = _DLL.match(signal.said.get("dll", ""))
    found = _LIBRARY.match(f"lib{dll['stem']}.so.{dll['version']}" if dll else _library(signal))
    if found is None:
        return None, None
    rows: dict[str, dict[str, Any]] = case.matrix.table(_TABLE)["rows"]
    stem = found["stem"]
    known = next((one for one in (stem, stem.split("_")[0]) if one in rows), None)
    return (rows[known] if known else None), found["version"]


def _library(signal: Signal) -> str:
    return signal.said.get("library", "")


def _brings(case: Case, signal: Signal) -> list[Because]:
    row, _ = _row(case, signal)
    if row is None:
        return []
    source: str = case.matrix.table(_TABLE)["sources"][row["source"]]
    return [Because(f"{row['package']}-cu… brings this file", source, row["strength"])]


def _fixes(case: Case, signal: Signal, owner: str | None, name: str) -> Iterator[Fix]:
    """Offer what changes least: a path that misleads, the package of the library, a build."""
    if {"dll", "dll2"} & signal.said.keys():
        yield from _of_a_dll(case, signal, owner, name)
        return
    row, version = _row(case, signal)
    major = row["majors"].get(version) if row and version else None
    own = _own_major(case)
    if _mixed(signal):
        yield from _of_two_releases(case, signal, name)
        return
    if _may_be_a_board(case):
        yield from _of_a_board(case, name)
        return
    if owner != TORCH and major and own and major != own:
        yield from _of_another_major(case, owner, major, name)
    if row is not None and (wanted := major or own):
        yield _package_of(row, version, wanted, name)
    if owner == TORCH or (row is not None and major is None and own is None):
        yield _torch_anew(case, name)
    if "amd" in signal.said:
        yield _of_rocm(name)
    why = "it must name the folder of this library, where it is installed elsewhere"
    yield Fix(action="set-env", name=path_of(case), why=why, verify=name)


def _may_be_a_board(case: Case) -> bool:
    """Say whether torch is none of the index: for this processor that has none with CUDA."""
    machine = case.machine
    return (
        machine.os.value == "linux" and machine.arch.value in _ARM and not machine.torch_cuda.value
    )


def _of_a_board(case: Case, name: str) -> Iterator[Fix]:
    """Offer what brings the libraries of a board's torch, which is built for its system."""
    why = "a torch for Jetson takes the CUDA libraries of JetPack: from an L4T image in a container"
    yield Fix(action="install-system", package=_BOARD, name=_BOARD, why=why, verify=name)
    why = "it must name the folder of this library, where it is installed elsewhere"
    yield Fix(action="set-env", name=path_of(case), why=why, verify=name)


def path_of(case: Case) -> str:
    """Name the variable in which this system's loader is told folders; Linux' where unknown."""
    return _PATHS.get(case.machine.os.value or "", _PATH)


def _of_a_dll(case: Case, signal: Signal, owner: str | None, name: str) -> Iterator[Fix]:
    """Offer what brings a DLL: torch its own; for others the library's package, or their build."""
    row, version = _row(case, signal)
    major = row["majors"].get(version) if row and version else None
    if row is not None and major and owner != TORCH:
        yield _package_of(row, version, major, name)
    if owner in {None, TORCH}:
        why = "a build with CUDA brings these libraries along"
        without = case.machine.torch_cuda.value == ""
        yield from offers(case, why, verify=name) if without else [_torch_anew(case, name)]
        return
    why = "its build for the CUDA and cuDNN that are installed here"
    yield Fix(action="install-matching", package=owner, why=why, verify=name)
    why = "it must name the folders of the DLLs of CUDA and cuDNN, where they are installed"
    yield Fix(action="set-env", name="PATH", why=why, verify=name)


def _of_rocm(name: str) -> Fix:
    why = "torch's builds for ROCm bring their own; others need ROCm of the release they name"
    return Fix(action="install-matching", package=TORCH, why=why, verify=name)


def _of_two_releases(case: Case, signal: Signal, name: str) -> Iterator[Fix]:
    why = "its folders come before torch's own libraries, of which then one is of another release"
    if case.machine.os.value not in _PATHS:
        yield unset(_PATH, why, verify=name)
    if package := signal.said.get("newer"):
        row = case.matrix.table(_TABLE)["rows"].get(package)
        if row and (major := _own_major(case)):
            yield _package_of(row, None, major, name)
    yield _torch_anew(case, name)


def _of_another_major(case: Case, owner: str | None, major: int, name: str) -> Iterator[Fix]:
    cuda = case.machine.torch_cuda.value
    why = f"its build for torch's CUDA {cuda} needs what torch brings"
    yield Fix(action="install-matching", package=owner, why=why, verify=name)
    why = f"a torch built for CUDA {major} brings this library along"
    yield from offers_of_major(case, major, why, verify=name)


def _package_of(row: dict[str, Any], version: str | None, major: int, name: str) -> Fix:
    bare = "suffix" in row and major >= row["suffix"]
    package = row["package"] if bare else f"{row['package']}-cu{major}"
    spec = f"=={version}.*" if row.get("own_version") and version else ""
    if bare:
        spec = f"=={major}.*" if version == str(major) else spec
    return pip("install", package, spec, "it brings this library", verify=name)


def _torch_anew(case: Case, name: str) -> Fix:
    version, cuda = (case.machine.torch.value or "").partition("+")[0], case.machine.torch_cuda
    spec = f"=={version}" if version else ""
    tag = "cu" + cuda.value.replace(".", "") if cuda.value else None
    where = f" --index-url {TORCH_BUILDS}/{tag}" if tag else ""
    return Fix(
        action="reinstall",
        why="its installer brings the CUDA libraries that it was built with",
        applicability="unsafe",
        package=TORCH,
        spec=spec or None,
        index=tag,
        command=f'python -m pip install --force-reinstall "torch{spec}"{where}',
        verify=name,
    )


def _own_major(case: Case) -> int | None:
    cuda = case.machine.torch_cuda.value
    return int(cuda.partition(".")[0]) if cuda else None


BNB_RULE = "bnb-cuda-libs-not-found"
