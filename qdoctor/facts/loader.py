"""What the dynamic loader would load for a library, in a process of the examined interpreter.

Follows glibc's order (ld.so(8), ``elf/dl-load.c``): a library of that soname that is loaded
already; DT_RPATH of the library, of what loaded it and of the program, if the library has no
DT_RUNPATH; LD_LIBRARY_PATH; DT_RUNPATH; the loader's cache; the default folders. musl looks into
LD_LIBRARY_PATH first and knows one kind of RPATH. A file for another machine is passed over, one
that is no library at all ends the search: the loader then gives up.
No library is opened by the loader here: only headers are read. Not followed: copies for certain
CPUs only (``glibc-hwcaps``), and LD_AUDIT.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import msgspec

from qdoctor.model import Noun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_DEFAULT = ("lib/{multiarch}", "usr/lib/{multiarch}", "lib64", "usr/lib64", "lib", "usr/lib")
_MUSL_DEFAULT = ("lib", "usr/local/lib", "usr/lib")
_MULTIARCH = {
    "x86_64": "x86_64-linux-gnu",
    "aarch64": "aarch64-linux-gnu",
    "i386": "i386-linux-gnu",
}


class Header(Noun, frozen=True):
    """What the loader reads of one library; folders as written, None where the tag is absent."""

    machine: str
    needs: tuple[str, ...] = ()
    soname: str = ""
    rpath: tuple[str, ...] | None = None
    runpath: tuple[str, ...] | None = None
    glibcxx_given: str = ""


class System(msgspec.Struct, frozen=True):
    """The machine around the process.

    ``header`` reads a file: None where there is none, no machine where it is no library;
    ``cached`` gives the files that the loader's cache has for a soname; ``default`` are its default
    folders.
    """

    header: Callable[[str], Header | None]
    cached: Callable[[str], Sequence[str]]
    default: tuple[str, ...]
    library_path: tuple[str, ...] = ()
    musl: bool = False


class _Object(msgspec.Struct, frozen=True):
    """One loaded library and what loaded it: its DT_RPATH counts for what this one needs."""

    path: str
    header: Header
    loader: _Object | None = None


class Process:
    """What one process has loaded so far, in the order in which it did."""

    def __init__(self, system: System, program: str, preload: Iterable[str] = ()) -> None:
        """Start ``program`` (an interpreter); ``preload``: the entries of LD_PRELOAD."""
        self._system = system
        self._folders: dict[str, frozenset[str]] = {}
        self._loaded: dict[str, str] = {}
        self._searched: dict[tuple[object, ...], str | None] = {}
        self._objects: dict[str, _Object] = {}
        self._interpreter: _Object | None = None
        path = os.path.realpath(program)
        header = system.header(path) or Header("")
        self._machine = header.machine
        self._program = _Object(path, header)
        wanted = [name for name in preload if name]
        self._close_over([*self._opened(wanted, self._program), self._program])

    def load(self, path: str) -> list[str]:
        """Load a library and all that it needs, as ``dlopen`` does; returns what was not found."""
        found = self._object(path, self._caller())
        return self._close_over([found]) if found else [path]

    def resolve(self, path: str) -> dict[str, str]:
        """Give for each need of a library the file that it would get now; ``""`` for none."""
        found = self._object(path, self._caller())
        if found is None:
            return {}
        return {need: self._find(need, found) or "" for need in found.header.needs}

    def alone(self, path: str, needs: Iterable[str]) -> dict[str, str]:
        """Give what a library would find for ``needs`` by itself, if nothing were loaded yet."""
        found = self._object(path, self._caller())
        return {need: self._search(need, found) or "" for need in needs} if found else {}

    def holds(self, soname: str) -> str:
        """Give the loaded file of a soname; ``""`` for none."""
        return self._loaded.get(soname, "")

    def holds_any(self, beginning: str) -> bool:
        """Say whether a library is loaded whose soname begins so."""
        return any(name.startswith(beginning) for name in self._loaded)

    def anywhere(self, soname: str) -> str:
        """Give what the program itself would get for a soname; ``""`` for none."""
        return self._search(soname, self._program) or ""

    def _caller(self) -> _Object:
        """Give what calls ``dlopen``: the interpreter's code, in its own library where shared."""
        return self._interpreter or self._program

    def _close_over(self, objects: list[_Object]) -> list[str]:
        """Load what ``objects`` need, and what that needs, breadth first."""
        missing = []
        queue = list(objects)
        for one in queue:
            self._remember(one)
        for one in queue:  # grows while it is walked
            for need in one.header.needs:
                if need in self._loaded:
                    continue
                path = self._search(need, one)
                found = self._object(path, one) if path else None
                if found is None:
                    missing.append(need)
                    continue
                self._loaded[need] = found.path
                if found.path not in self._objects:
                    self._remember(found)
                    queue.append(found)
        return missing

    def _opened(self, names: Sequence[str], by: _Object) -> Iterator[_Object]:
        for name in names:
            path = name if "/" in name else self._search(name, by)
            found = self._object(path, by) if path else None
            if found:
                self._loaded.setdefault(name, found.path)
                yield found

    def _remember(self, one: _Object) -> None:
        self._objects.setdefault(one.path, one)
        if "/libpython" in one.path:
            self._interpreter = one
        if one.header.soname:
            self._loaded.setdefault(one.header.soname, one.path)

    def _object(self, path: str, loader: _Object) -> _Object | None:
        header = self._system.header(path)
        return _Object(path, header, loader) if header and header.machine else None

    def _find(self, need: str, by: _Object) -> str | None:
        return self._loaded.get(need) or self._search(need, by)

    def _search(self, need: str, by: _Object) -> str | None:
        """Look for a file as the loader would for ``by``; nothing loaded counts.

        The answer is kept for all libraries of one folder that name the same folders to look into.
        """
        header = by.header
        loader = by.loader.path if by.loader else ""
        place = (need, by.path.rpartition("/")[0], header.rpath, header.runpath, loader)
        if place not in self._searched:
            self._searched[place] = self._looked_for(need, by)
        return self._searched[place]

    def _looked_for(self, need: str, by: _Object) -> str | None:
        for path in self._places(need, by):
            header = self._system.header(path)
            if header is None:
                continue
            if not header.machine or self._machine in {"", header.machine}:
                return path if header.machine else None
        return None

    def _places(self, need: str, by: _Object) -> Iterator[str]:
        """Give the files that the loader would try, in its order."""
        if "/" in need:
            yield _expanded(need, by)
            return
        for folder in self._musl_folders(by) if self._system.musl else self._before_cache(by):
            if need in self._names(folder):
                yield f"{folder}/{need}"
        yield from self._system.cached(need)
        yield from (f"{folder}/{need}" for folder in self._system.default)

    def _before_cache(self, by: _Object) -> Iterator[str]:
        if by.header.runpath is None:
            one: _Object | None = by
            program = False
            while one is not None:
                program = program or one is self._program
                yield from _all_expanded(one.header.rpath, one)
                one = one.loader
            if not program and self._program.header.runpath is None:
                yield from _all_expanded(self._program.header.rpath, self._program)
        yield from self._system.library_path
        yield from _all_expanded(by.header.runpath, by)

    def _musl_folders(self, by: _Object) -> Iterator[str]:
        yield from self._system.library_path
        one: _Object | None = by
        while one is not None:
            yield from _all_expanded(one.header.runpath or one.header.rpath, one)
            one = one.loader

    def _names(self, folder: str) -> frozenset[str]:
        known = self._folders.get(folder)
        if known is None:
            try:
                known = frozenset(os.listdir(folder))  # noqa: PTH208 - paths are text here
            except OSError:
                known = frozenset()
            self._folders[folder] = known
        return known


def default_folders(machine: str, *, musl: bool = False, root: str = "/") -> tuple[str, ...]:
    """Give the folders that a loader looks into last."""
    patterns = _MUSL_DEFAULT if musl else _DEFAULT
    multiarch = _MULTIARCH.get(machine, "")
    return tuple(
        root + pattern.format(multiarch=multiarch)
        for pattern in patterns
        if multiarch or "{" not in pattern
    )


def listed(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Split LD_LIBRARY_PATH or LD_PRELOAD; an empty entry is the working folder, as for ld.so."""
    value = environ.get(name, "")
    if not value:
        return ()
    parts = re.split("[ :]" if name == "LD_PRELOAD" else "[:;]", value)
    return tuple(part or "." for part in parts)


def _all_expanded(folders: Sequence[str] | None, by: _Object) -> Iterator[str]:
    for folder in folders or ():
        if folder:
            yield _expanded(folder, by)


def _expanded(text: str, by: _Object) -> str:
    """Fill in $ORIGIN, the folder of the library, and $LIB and $PLATFORM."""
    if "$" not in text:
        return text.rstrip("/") or "/"
    names = {
        "ORIGIN": os.path.dirname(by.path),  # noqa: PTH120 - paths are text here
        "LIB": f"lib/{_MULTIARCH.get(by.header.machine, '')}",
        "PLATFORM": by.header.machine,
    }
    filled = re.sub(
        r"\$(?:\{(ORIGIN|LIB|PLATFORM)\}|(ORIGIN|LIB|PLATFORM)\b)",
        lambda found: names[found[1] or found[2]],
        text,
    )
    return os.path.normpath(filled)
