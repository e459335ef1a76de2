"""Native libraries of everything that the examined interpreter could import, by their files' names.

An installer's RECORD lists what a distribution brought; what has none (an editable install, a
folder on PYTHONPATH, an extension that torch compiled on the spot) is walked, at most
``MOST_FOLDERS`` folders in all. Lists are remembered by the stamp of the RECORD or folder they are
of, so that a second look costs one ``stat`` each.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from qdoctor.facts.inspected import Inspections
from qdoctor.model import Noun

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from qdoctor.facts.interpreter import Reading

MOST_FOLDERS = 2000
_LARGEST = 64 << 20
"""Bytes of a RECORD; the largest environments have some of 3 MB."""
FILE = "candidates-1.json"
_NATIVE = re.compile(r"[^/]\.(?:so(?:\.\d+)*|pyd|dll)\Z")
_EDITABLE = "direct_url.json"
_NOT_WALKED = {"node_modules", "__pycache__", "site-packages", "dist-packages"}


class Listing(Noun, frozen=True):
    """What one RECORD or one folder lists; paths as written there, ``folders`` for a folder only.

    ``tops`` are the names at the top of the import folder that the distribution owns.
    """

    files: tuple[str, ...] = ()
    tops: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    editable: bool = False


class Candidate(msgspec.Struct, frozen=True):
    """One native library, with the distribution or top-level package that it belongs to."""

    package: str
    path: str


class Found(msgspec.Struct, frozen=True):
    """Every candidate once; ``left_out`` says what was not looked through, ``""`` for nothing."""

    candidates: list[Candidate]
    left_out: str = ""


def find(reading: Reading, environ: Mapping[str, str]) -> Found:
    """List the native libraries that belong to the examined interpreter's packages."""
    search = _Search(environ)
    found = list(search.all_of(reading, environ))
    search.keep()
    first = {one.path: one for one in reversed(found)}
    left = f"more than {MOST_FOLDERS} folders outside of packages" if search.exhausted else ""
    return Found(list(reversed(first.values())), left)


class _Search:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self._lists: Inspections[Listing] = Inspections(_listed, environ, file=FILE, kind=Listing)
        self._folders_left = MOST_FOLDERS
        self._owned: dict[str, set[str]] = {}
        self.exhausted = False

    def keep(self) -> None:
        self._lists.keep()

    def all_of(self, reading: Reading, environ: Mapping[str, str]) -> Iterator[Candidate]:
        for one in reading.distributions:
            yield from self._of_distribution(one.name, one.file, one.folder)
        for folder in reading.path:
            if folder in self._owned:
                yield from self._unowned(folder)
            elif not _is_standard_library(folder):
                yield from self._walked(folder, "")
        yield from self._walked(_extensions_of_torch(environ), "")

    def _of_distribution(self, name: str, metadata: str, folder: str) -> Iterator[Candidate]:
        owned = self._owned.setdefault(folder, set())
        listing = self._listing(os.path.join(os.path.dirname(metadata), "RECORD"))  # noqa: PTH118, PTH120
        if listing is None:
            return
        owned.update(listing.tops)
        for file in listing.files:
            path = f"{folder}/{file}"
            yield Candidate(name, os.path.normpath(path) if ".." in file else path)
        if listing.editable:
            yield from self._walked(_source_of(Path(metadata).with_name(_EDITABLE)), name)

    def _unowned(self, folder: str) -> Iterator[Candidate]:
        """List what lies in an import folder without belonging to any distribution."""
        listing = self._listing(folder)
        if listing is None:
            return
        owned = self._owned[folder]
        for file in listing.files:
            if file not in owned:
                yield Candidate(file.split(".", 1)[0], f"{folder}/{file}")
        for name in listing.folders:
            if name not in owned and not name.endswith((".dist-info", ".egg-info")):
                yield from self._walked(f"{folder}/{name}", name)

    def _walked(self, top: str, package: str) -> Iterator[Candidate]:
        """Walk a folder; ``package`` is what its libraries are of, ``""``: the folder below it."""
        waiting = [(top, package)] if top else []
        while waiting:
            folder, owner = waiting.pop()
            if not self._folders_left:
                self.exhausted = True
                return
            listing = self._listing(folder)
            if listing is None:
                continue
            self._folders_left -= 1
            for file in listing.files:
                yield Candidate(owner or file.split(".", 1)[0], f"{folder}/{file}")
            waiting += [(f"{folder}/{name}", owner or name) for name in reversed(listing.folders)]

    def _listing(self, path: str) -> Listing | None:
        try:
            return self._lists.read(path)
        except (OSError, ValueError):  # the latter: a zero byte in a path
            return None


def _listed(path: Path) -> Listing:
    """Read what a RECORD or a folder lists. Raises ``OSError``."""
    return _folder(path) if path.is_dir() else _record(_contents(path))


def _contents(path: Path) -> bytes:
    """Read a regular file of a sensible size. Raises ``OSError``."""
    from qdoctor.sources.files import Unreadable, read  # noqa: PLC0415 - what is known needs none

    try:
        return read(path, _LARGEST)
    except Unreadable as error:
        raise OSError(str(error)) from error


def _record(data: bytes) -> Listing:
    """Pick the libraries out of a RECORD: lines of path, hash and size, 27,000 in a small torch."""
    lines = data.splitlines()
    named = [
        line.partition(b",")[0]
        for line in lines
        if (b".so" in line or b".pyd" in line or b".dll" in line) and line[:1] != b'"'
    ]
    tops = {line.partition(b",")[0].partition(b"/")[0] for line in lines}
    return Listing(
        files=tuple(name for one in named if _NATIVE.search(name := _text(one))),
        tops=tuple(sorted(map(_text, tops))),
        editable=f"/{_EDITABLE},".encode() in data,
    )


def _folder(path: Path) -> Listing:
    files, folders = [], []
    with os.scandir(path) as entries:
        for entry in entries:
            if not _is_utf8(entry.name):  # facts are JSON, which could not name it
                continue
            if _NATIVE.search(entry.name):
                files.append(entry.name)
            elif entry.is_dir(follow_symlinks=False) and _is_walked(entry.name):
                folders.append(entry.name)
    return Listing(files=tuple(sorted(files)), folders=tuple(sorted(folders)))


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_walked(name: str) -> bool:
    return not name.startswith(".") and name not in _NOT_WALKED


def _is_standard_library(folder: str) -> bool:
    return folder.endswith("lib-dynload") or os.path.exists(f"{folder}/os.py")  # noqa: PTH110


def _source_of(stated: Path) -> str:
    """Give the source folder of an editable install (PEP 610); ``""`` of any other."""
    from urllib.parse import unquote, urlsplit  # noqa: PLC0415 - few installs are editable

    try:
        plain = msgspec.json.decode(_contents(stated), type=_DirectUrl)
        url = urlsplit(plain.url)
    except (OSError, ValueError, RecursionError):  # msgspec's errors are the second, as urllib's
        return ""
    return unquote(url.path) if plain.dir_info.editable and url.scheme == "file" else ""


class _DirInfo(msgspec.Struct, frozen=True):
    editable: bool = False


class _DirectUrl(msgspec.Struct, frozen=True):
    url: str = ""
    dir_info: _DirInfo = _DirInfo()


def _extensions_of_torch(environ: Mapping[str, str]) -> str:
    """Give the folder where torch keeps extensions that it compiled (``load_inline``)."""
    if named := environ.get("TORCH_EXTENSIONS_DIR"):
        return named
    cache = environ.get("XDG_CACHE_HOME") or (
        f"{environ['HOME']}/.cache" if environ.get("HOME") else ""
    )
    return f"{cache}/torch_extensions" if cache else ""
