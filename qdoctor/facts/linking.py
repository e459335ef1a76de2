"""Which file each library would get for what it needs, in a process that has imported torch.

torch loads its CUDA libraries before anything else can: its own DT_RPATH names the nvidia wheels'
folders, and where that finds nothing ``torch/__init__.py`` opens them by path. What a library that
is imported after torch needs is taken from there, whatever copy it would find by itself.
"""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from qdoctor.facts import loader
from qdoctor.facts.inspected import Inspections
from qdoctor.facts.loader import Header, Process, System
from qdoctor.model import Noun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from qdoctor.facts.interpreter import Reading

FILE = "headers-1.json"
CACHE_FILE = "loader-1.json"
_GLOBAL_DEPS = "lib/libtorch_global_deps.so"
_BINDINGS = re.compile(r"_C(?:\.[\w-]+)*\.so")
# How torch/__init__.py names what it opens by path: all of its list where its own needs are not
# found, and in later releases always; in those between the two, some that it names one by one.
_NAMED = re.compile(rb"[\"'](lib\w+\.so\.\*\[0-9\])[\"']")
_OPENED = re.compile(rb"_preload_cuda_deps\(\s*[\"']\w+[\"'],\s*[\"'](lib\w+\.so\.\*\[0-9\])[\"']")
_OPENS_ALL = b"_preload_cuda_deps()"
_LIBSTDCXX = "libstdc++.so.6"
_CUDA = re.compile(
    r"(?:lib)?(?:cu(?:da|blas|dnn|fft|rand|sparse|solver|file|pti)|nccl|npp"
    r"|nv(?:cuda|rtc|jitlink|toolsext|tx|jpeg|shmem|idia-ml|blas|infer))"
    r"[\w-]*(?:\.so(?:\.[\d.]+)?|\.dll)",
    re.IGNORECASE,
)


def is_cuda(need: str) -> bool:
    """Say whether a soname or DLL is one of NVIDIA's libraries."""
    return _CUDA.fullmatch(need) is not None


class Linker:
    """Answers what libraries would be given, on Linux; headers are remembered by file stamp."""

    def __init__(
        self,
        reading: Reading,
        environ: Mapping[str, str],
        nvidia: Iterable[str] = (),
        *,
        root: str = "/",
    ) -> None:
        """``nvidia``: paths of the nvidia wheels' libraries, which torch may open by path."""
        self._environ = environ
        self._headers: Inspections[Header] = Inspections(header, environ, file=FILE, kind=Header)
        self._known: dict[str, Header | None] = {}
        self._cache = _LoaderCache(root, environ)
        self._process = self._started(reading, root)
        if torch := reading.folders.get("torch"):
            self._import_torch(torch, {path.rsplit("/", 1)[-1]: path for path in nvidia})

    def resolved(self, path: str) -> tuple[dict[str, str], dict[str, str]]:
        """Give the files for a library's CUDA needs and for what is missing, and hidden copies."""
        given = self._process.resolve(path)
        shown = {need: file for need, file in given.items() if is_cuda(need) or not file}
        alone = self._process.alone(path, shown)
        hidden = {
            need: own
            for need, file in shown.items()
            if file and (own := alone[need]) not in {"", file} and not _same(own, file)
        }
        return _written(shown), _written(hidden)

    def glibcxx(self) -> str | None:
        """Give the newest symbol version of the libstdc++ in the process; None for unknown."""
        path = self._process.holds(_LIBSTDCXX) or self._process.anywhere(_LIBSTDCXX)
        header = self._read(path) if path else None
        return header.glibcxx_given or None if header else None

    def keep(self) -> None:
        """Remember what was read."""
        self._headers.keep()

    def _started(self, reading: Reading, root: str) -> Process:
        program = self._read(os.path.realpath(reading.python.executable))
        machine = program.machine if program else ""
        musl = (reading.libc or "").startswith("musl")
        system = System(
            header=self._read,
            cached=(lambda _: ()) if musl else self._cache.of,
            default=_told_to_musl(machine, root)
            if musl
            else loader.default_folders(machine, root=root),
            library_path=loader.listed(self._environ, "LD_LIBRARY_PATH"),
            musl=musl,
        )
        preload = loader.listed(self._environ, "LD_PRELOAD")
        return Process(system, reading.python.executable, preload)

    def _import_torch(self, folder: str, nvidia: Mapping[str, str]) -> None:
        """Load what importing torch loads: its global needs first, then its bindings."""
        first = f"{folder}/{_GLOBAL_DEPS}"
        missing = self._process.load(first) if self._read(first) else []
        for pattern in self._opened_by_torch(folder, missing):
            name = next((one for one in nvidia if fnmatchcase(one, pattern)), None)
            if name and not self._process.holds(name):
                self._process.load(nvidia[name])
        for name in _names(folder):
            if _BINDINGS.fullmatch(name):
                self._process.load(f"{folder}/{name}")

    def _opened_by_torch(self, folder: str, missing: list[str]) -> list[str]:
        """List the names that torch opens by path, as its own source has them."""
        if not missing and not self._process.holds_any("libcudart.so"):
            return []
        try:
            source = Path(folder, "__init__.py").read_bytes()
        except OSError:
            return []
        every = missing or _OPENS_ALL in source
        return [os.fsdecode(one) for one in (_NAMED if every else _OPENED).findall(source)]

    def _read(self, path: str) -> Header | None:
        if path not in self._known:
            try:
                self._known[path] = self._headers.read(path)
            except (OSError, ValueError):  # there is none
                self._known[path] = None
        return self._known[path]


class CacheFile(Noun, frozen=True):
    """What ``/etc/ld.so.cache`` holds: the files of each soname, in its order."""

    files: dict[str, list[str]] = {}  # noqa: RUF012 - msgspec copies it


class _LoaderCache:
    """The loader's cache file, read when it is first asked."""

    def __init__(self, root: str, environ: Mapping[str, str]) -> None:
        self._path = Path(root, "etc/ld.so.cache")
        self._environ = environ
        self._files: dict[str, list[str]] | None = None

    def of(self, soname: str) -> Sequence[str]:
        if self._files is None:
            seen: Inspections[CacheFile] = Inspections(
                cache_file, self._environ, file=CACHE_FILE, kind=CacheFile
            )
            try:
                self._files = seen.read(self._path).files
            except OSError:  # there is none
                self._files = {}
            seen.keep()
        return self._files.get(soname, ())


def cache_file(path: Path) -> CacheFile:
    """Read the loader's cache; entries for certain CPUs only are left out. Raises ``OSError``."""
    from qdoctor.binaries import read_ld_cache  # noqa: PLC0415 - kept off the start-up path

    files: dict[str, list[str]] = {}
    for entry in read_ld_cache(path.read_bytes()):
        if not entry.special:
            files.setdefault(entry.name, []).append(entry.path)
    return CacheFile(files)


def header(path: Path) -> Header:
    """Read one file; what is no ELF library is remembered as such, without a machine."""
    from qdoctor.binaries import UnreadableBinary, read_elf  # noqa: PLC0415 - likewise

    try:
        elf = read_elf(path)
    except UnreadableBinary:
        return Header("")
    return Header(
        machine=elf.machine,
        needs=elf.needs,
        soname=elf.soname,
        rpath=elf.rpath,
        runpath=elf.runpath,
        glibcxx_given=elf.glibcxx_given,
    )


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names, not paths
    except OSError:
        return []


def _told_to_musl(machine: str, root: str) -> tuple[str, ...]:
    """Give the folders in musl's own file of them, else its default ones."""
    try:
        text = Path(root, f"etc/ld-musl-{machine}.path").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return loader.default_folders(machine, musl=True, root=root)
    return tuple(filter(None, text.replace("\n", ":").split(":")))


def _written(files: dict[str, str]) -> dict[str, str]:
    """Replace bytes of paths that are no UTF-8, which JSON cannot hold."""
    return {
        need: file.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        for need, file in files.items()
    }


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def windows_resolver(
    folders: Iterable[str], environ: Mapping[str, str]
) -> Callable[[str, Sequence[str]], dict[str, str]]:
    """Give a resolver for DLLs, simplified: no side-by-side assemblies, no API sets.

    The library's own folder, those that torch registers (``os.add_dll_directory``: its lib, the
    nvidia wheels' bin), System32, and PATH, which counts for what is opened through ctypes.
    """
    system = f"{environ.get('SystemRoot', 'C:/Windows')}/System32"
    places = [*folders, system, *filter(None, environ.get("PATH", "").split(";"))]
    held: dict[str, dict[str, str]] = {}

    def names(folder: str) -> dict[str, str]:
        if folder not in held:
            held[folder] = {name.lower(): f"{folder}/{name}" for name in _names(folder)}
        return held[folder]

    def resolve(path: str, needs: Sequence[str]) -> dict[str, str]:
        own = [os.path.dirname(path), *places]  # noqa: PTH120 - paths are text here
        return {
            need: next((names(one)[need.lower()] for one in own if need.lower() in names(one)), "")
            for need in needs
            if is_cuda(need)
        }

    return resolve
