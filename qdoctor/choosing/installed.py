"""What the packages that decide are, and when they last changed, as an import would find them.

A package is looked for with the import system's own finders, so that shadowing copies, editable
installs and zip files are found as an import would find them; nothing is imported. Its stamp is
that of its ``__init__`` and of its distribution's RECORD, which an installer rewrites whenever it
changes a file. A package without a RECORD beside it (a source tree) is stamped file by file.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as typing's, without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = {
    "torch": "computes every backend, and brings its own CUDA libraries and kernels",
    "triton": "compiles the kernels of qdoctor-switchback, bitsandbytes and torchao",
    "bitsandbytes": "the bnb-... backends",
    "torchao": "the torchao-... backends",
    "fbgemm_gpu": "torchao takes its int4 and fp8 kernels where it is installed",
    "mslk": "torchao takes its kernels where it is installed",
    "qdoctor": "its own kernels, its measuring and its rules of decision",
}
"""Module -> why another copy of it could change the answer."""

BESIDE = {
    "nvidia_cublas": "the matrix products of torch and bitsandbytes",
    "nvidia_cuda_runtime": "the runtime under all of them",
    "nvidia_cuda_nvrtc": "what torch compiles some of its kernels with",
    "nvidia_cuda_nvcc": "the assembler that a triton without its own uses",
    "nvidia_cudnn": "loaded with torch; a wrong one breaks its import",
}
"""Beginnings of distributions' file names, without a module of their own -> why they count."""

_BROUGHT_BY = {
    "fbgemm_gpu": ("fbgemm_gpu", "fbgemm_gpu_genai", "fbgemm_gpu_cpu"),
    "triton": (
        *("triton", "pytorch_triton", "triton_windows"),
        *("pytorch_triton_rocm", "pytorch_triton_xpu", "triton_rocm", "triton_xpu"),
    ),
}
"""Module -> the distributions that bring it, where they have other names."""

_MOST_FILES = 400
"""Files of a source tree that are stamped: some 0.6 ms."""
_SOURCES = (".py", ".so", ".pyd", ".dll", ".json")


def installed() -> tuple[dict[str, str], list[str]]:
    """Return what was found by name, ``version stamps`` (``""``: none), and the paths to watch.

    A version is taken from the distribution's file name, ``?`` where that tells none. While none of
    the paths has another stamp, nothing was installed, upgraded or removed.
    """
    found: dict[str, str] = {}
    listed: dict[str, list[str]] = {}
    watched: list[str] = []
    for module in MODULES:
        origin = _origin(module)
        if not os.path.isabs(origin):  # none, or nowhere that a file could be looked at
            found[module] = f"? {origin}" if origin else ""
            continue
        folder, site = _places(origin)
        if site not in listed:
            listed[site] = _metadata(site)
        found[module] = _described(module, origin, folder, site, listed[site])
        watched.append(origin)
    for site, names in listed.items():
        known = [name for name in names if _brings_any(name)]
        watched += [site, *(os.path.join(site, name, "RECORD") for name in known)]
        for name in _named(names, BESIDE):
            found[name.partition("-")[0].lower()] = _stamped(name, site)
    return found, [*sys.path, *watched]


def _brings_any(name: str) -> bool:
    distribution = _normal(name.partition("-")[0])
    return distribution in MODULES or any(distribution in each for each in _BROUGHT_BY.values())


def _named(names: list[str], beginnings: dict[str, str]) -> list[str]:
    return [name for name in names if name.lower().startswith(tuple(beginnings))]


def version_in(described: str) -> str:
    """Return the version of what ``installed`` said of a package, without its stamps."""
    return described.partition(" ")[0]


def stamp(path: str) -> str:
    """Return what changes when a file is written or replaced; ``-`` where there is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return "-"
    return f"{status.st_size}.{status.st_mtime_ns}.{status.st_ino}"


def _origin(module: str) -> str:
    """Return the file that ``import module`` would run; one already imported is what counts.

    ``""`` where there is none; words in brackets where it is no file: a namespace, a broken finder.
    """
    loaded = sys.modules.get(module)
    spec = getattr(loaded, "__spec__", None)
    if spec is not None:
        return spec.origin or "(namespace)"
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        try:
            spec = find(module, None) if find is not None else None
        except Exception as error:  # noqa: BLE001 - a finder of anybody's
            return f"(unreadable: {type(error).__name__})"
        if spec is not None:
            return spec.origin or "(namespace)"
    return ""


def _places(origin: str) -> tuple[str, str]:
    """Return a package's folder and the folder it is imported from."""
    folder = os.path.dirname(origin)
    return (folder, os.path.dirname(folder)) if "__init__." in origin else ("", folder)


def _metadata(site: str) -> list[str]:
    try:
        names = os.listdir(site)
    except OSError:
        return []
    return sorted(name for name in names if name.endswith((".dist-info", ".egg-info")))


def _described(module: str, origin: str, folder: str, site: str, names: list[str]) -> str:
    brought_by = _BROUGHT_BY.get(module, (module,))
    own = [name for name in names if _normal(name.partition("-")[0]) in brought_by]
    if own and stamp(os.path.join(site, own[0], "RECORD")) != "-":
        return f"{_stamped(own[0], site)} {stamp(origin)}"
    version = _version(own[0]) if own else "?"
    if stamp(origin) == "-":
        return f"{version} in {_archive(origin)}"
    folders = _own_folders(folder) if module == "qdoctor" else [folder] if folder else []
    return " ".join([version, stamp(origin), *(_tree(one) for one in folders)])


def _archive(origin: str) -> str:
    """Return the stamp of what a file that is none lies in: a zip on the import path."""
    while (origin := os.path.dirname(origin)) and origin != os.path.dirname(origin):
        if (found := stamp(origin)) != "-":
            return found
    return "-"


def _own_folders(package: str) -> list[str]:
    """Name the folders of our own source tree that take part in an answer."""
    checkout = os.path.dirname(package)
    mine = [os.path.join(package, name) for name in ("backends", "choosing", "layers", "nn")]
    return [*mine, os.path.join(checkout, "kernels"), os.path.join(checkout, "matrix", "tables")]


def _normal(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")


def _stamped(name: str, site: str) -> str:
    return f"{_version(name)} {stamp(os.path.join(site, name, 'RECORD'))}"


def _version(name: str) -> str:
    """``torch-2.13.0+cpu.dist-info`` -> ``2.13.0+cpu``."""
    return name.rpartition(".")[0].partition("-")[2].partition("-")[0] or "?"


def _tree(folder: str) -> str:
    """Return one number for the files of a source tree, the first ``_MOST_FILES`` of them."""
    total, count = 0, 0
    for entry in _files(folder):
        try:
            status = entry.stat()
        except OSError:  # a link to nothing (Emacs marks what it edits so), or deleted just now
            continue
        total = (total * 31 + status.st_mtime_ns + status.st_size) & 0xFFFFFFFFFFFFFFFF
        count += 1
        if count == _MOST_FILES:
            break
    return f"{count}.{total:x}"


def _files(folder: str) -> Iterator[os.DirEntry[str]]:
    folders = [folder]
    while folders:
        try:
            entries = sorted(os.scandir(folders.pop(0)), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            if entry.name.endswith(_SOURCES):
                yield entry
            elif entry.name[0] not in "_." and entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
